"""What limiters were handed: every grant as it arrived, read from the limiters' own event logs."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from chaos.row import Row
from gpuwarden.agent.limiter import events as limiter_events
from gpuwarden.agent.limiter.card import CardState
from gpuwarden.core.eventlog import read_head, read_steps
from gpuwarden.core.plain import Reader
from gpuwarden.proto.lease_pb2 import Grant, Sealed

READER = Reader((*limiter_events.Event.__args__, CardState))


@dataclass(frozen=True, slots=True)
class Word:
    """A grant at a limiter's door, obeyed or not. Times are CLOCK_BOOTTIME, `limits_w` one for each card."""

    arrived_s: float
    controller: str
    epoch: int
    sequence: int
    answers: str  # the start of a limiter
    echo_s: float
    ends_s: float
    limits_w: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Run:
    """One start of a limiter. `epoch` is what it remembered of those before it."""

    node: str
    start: str
    epoch: int
    words: tuple[Word, ...]


def runs(row: Row) -> dict[str, list[Run]]:
    """By node, in the order of their first words."""
    made: dict[str, list[Run]] = {node: [] for node in row.nodes}
    for log in row.events.glob("limiter-*.jsonl"):
        run = _run(log)
        made[run.node].append(run)
    for of_node in made.values():
        of_node.sort(key=lambda run: run.words[0].arrived_s if run.words else 0.0)
    return made


def _run(log: Path) -> Run:
    setup = read_head(log)[1]
    assert isinstance(setup, dict)
    return Run(str(setup["node"]), str(setup["limiter_start"]), int(setup["epoch"]), tuple(_words(log)))


def _words(log: Path) -> Iterator[Word]:
    for step in read_steps(log, READER):
        if isinstance(step.event, limiter_events.Directive):
            yield _word(step.now_s, Grant.FromString(Sealed.FromString(step.event.sealed).payload))


def _word(now_s: float, grant: Grant) -> Word:
    return Word(
        now_s, grant.controller_id, grant.epoch, grant.sequence, grant.echo_limiter_start, grant.echo_stamp_s,
        grant.echo_stamp_s + grant.lease_s, tuple(grant.limits_w),
    )
