"""From recorded history to models of all its nodes, some nodes at a time, so that memory is bounded by them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from gpuwarden.detector.health.fit import Fitted, TooLittle, fitted
from gpuwarden.detector.past.block import Past, Source, read
from gpuwarden.detector.past.features import FEATURES
from gpuwarden.detector.past.piece import Span

BLOCK_BYTES: Final = 512 << 20
_READ_SHARE: Final = 0.3  # of the time that a node takes; the rest fits


@dataclass(slots=True)
class Lessons:
    """What came of a history. Numbers are summed over nodes."""

    fitted: list[Fitted] = field(default_factory=list)
    too_little: list[TooLittle] = field(default_factory=list)
    repeats: int = 0  # readings that came again
    falls: int = 0  # minutes in which a counter fell
    twice_minutes: int = 0  # lived twice, since a clock was set back
    restart_minutes: int = 0  # in which an agent started anew


def learned_from(
    source: Source, span: Span, budget_per_node_day: float, nodes: Sequence[str] | None = None, done: Callable[[float], object] = lambda ratio: None
) -> Lessons:
    """Of `nodes`, or all there are. `done` is told which share is done. Raises BadPast."""
    names = sorted(set(nodes)) if nodes is not None else source.nodes(span)
    lessons, behind = Lessons(), 0
    for some in _parts(names, span):
        first = behind

        def reading(ratio: float, first: int = first, size: int = len(some)) -> None:
            done((first + _READ_SHARE * size * min(1.0, ratio)) / len(names))

        past = read(source, span, some, reading)
        _count(lessons, past)
        for node in range(len(some)):
            made = fitted(past, budget_per_node_day, node)
            if isinstance(made, Fitted):
                lessons.fitted.append(made)
            else:
                lessons.too_little.append(made)
            done((first + len(some) * _READ_SHARE + (node + 1) * (1 - _READ_SHARE)) / len(names))
        behind += len(some)
    return lessons


def _parts(names: Sequence[str], span: Span) -> Iterator[Sequence[str]]:
    each = max(1, BLOCK_BYTES // max(1, 4 * len(FEATURES) * (span.end - span.first)))
    for first in range(0, len(names), each):
        yield names[first : first + each]


def _count(lessons: Lessons, past: Past) -> None:
    for name in ("repeats", "falls", "twice_minutes", "restart_minutes"):
        setattr(lessons, name, getattr(lessons, name) + getattr(past.left_out, name))
