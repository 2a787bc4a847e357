"""Which limits were covered by a grant, by an order of acceptance of the judge's own: the limiter's code has no say in it.

A word is accepted that answers this start of the limiter, is not expired, comes of no lower epoch than what was accepted before, of
no other controller while the first one's lease runs, and is newer than the one before. It covers what it says, no more and no less, until
its lease has ended or a newer one was accepted, and HANDOVER_S longer: time to set and to be seen.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Final

from chaos.row import FLOOR_W
from chaos.watch import SAME_W, Seen
from chaos.word import Run, Word

HANDOVER_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Cover:
    """`limits_w`, card by card, are granted from `starts_s` to `ends_s`, HANDOVER_S included."""

    starts_s: float
    ends_s: float
    limits_w: tuple[float, ...]


def covers(of_node: Iterable[Run]) -> list[Cover]:
    """In order, of all starts of one node's limiter."""
    accepted = sorted(chain.from_iterable(map(_accepted, of_node)), key=lambda word: word.arrived_s)
    ends_s = [min(word.ends_s, later.arrived_s) for word, later in pairwise(accepted)] + [word.ends_s for word in accepted[-1:]]
    return [Cover(word.arrived_s, end_s + HANDOVER_S, word.limits_w) for word, end_s in zip(accepted, ends_s, strict=True)]


def _accepted(run: Run) -> Iterator[Word]:
    newest: Word | None = None
    for word in run.words:
        if word.answers != run.start or word.arrived_s >= word.ends_s or word.epoch < run.epoch:
            continue
        if newest is None or _follows(word, newest):
            newest = word
            yield word


def _follows(word: Word, newest: Word) -> bool:
    if word.epoch < newest.epoch or word.echo_s < newest.echo_s:
        return False
    if word.controller != newest.controller:
        return word.arrived_s >= newest.ends_s
    return word.epoch > newest.epoch or word.sequence > newest.sequence


def uncovered(seen: Iterable[Seen], node: str, of_node: Sequence[Cover]) -> Iterator[Seen]:
    """Looks at which some card was above its floor and not at what was granted it then: a lower limit too may be a stale grant's."""
    for one in seen:
        running = [cover.limits_w for cover in of_node if cover.starts_s <= one.now_s <= cover.ends_s]
        if any(_strange(limit_w, gpu, running) for gpu, limit_w in enumerate(one.limits_w[node])):
            yield one


def _strange(limit_w: float, gpu: int, running: Sequence[tuple[float, ...]]) -> bool:
    return limit_w > FLOOR_W + SAME_W and all(abs(limit_w - limits_w[gpu]) > SAME_W for limits_w in running)
