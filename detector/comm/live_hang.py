"""Whom a running job waits for: the analysis of dumps (`hang.py`), once somebody has waited for longer than this job's patience.

A rank that does not speak while others do, or whose connection has ended, is one that left no dump. Nothing is asked of the kernel.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from gpuwarden.detector.comm import hang
from gpuwarden.detector.comm.flight_dump import Counts, Dump, Group, Pending, peer_of
from gpuwarden.detector.comm.flight_folder import Dumps
from gpuwarden.detector.comm.live_job import RUNS, LiveJob, LiveRank
from gpuwarden.detector.comm.verdict import Finding, Verdict
from gpuwarden.proto.comm_pb2 import CommGroup

MOVING_S: Final = 3.0  # what is pending for less than this may be done by now
STALLED: Final = "stalled"
ENDED: Final = "ended"
MORE_WORDS: Final[Mapping[str, str]] = {
    STALLED: "it says nothing any more and its connection stands: stopped, starved, or something holds its interpreter",
    ENDED: "its process has ended",
}


@dataclass(frozen=True, slots=True)
class Hang:
    """`waited_s`: the longest wait, of `waiting`, the ranks that are over the job's patience."""

    verdict: Verdict
    waiting: tuple[int, ...]
    waited_s: float
    patience_s: float


def hang_of(job: LiveJob, now_s: float, patience_s: float) -> Hang | None:
    """None while nobody waits for longer than `patience_s`."""
    running = dict(job.running(now_s))
    over_s = {number: waited_s for number, rank in running.items() if (waited_s := rank.longest_s(now_s)) > patience_s}
    if not over_s:
        return None
    verdict = hang.verdict_on(Dumps({number: _dump(rank, job, now_s) for number, rank in running.items()}, {}))
    return Hang(verdict, tuple(sorted(over_s)), max(over_s.values()), patience_s)


def class_of(job: LiveJob, number: int, now_s: float, finding: Finding) -> str:
    """Of the rank named: of one that says nothing, that is what is known."""
    rank = job.ranks[number]
    if rank.end != RUNS:
        return ENDED
    return finding.kind if number in dict(job.running(now_s)) else STALLED


def _dump(rank: LiveRank, job: LiveJob, now_s: float) -> Dump:
    known = {job.groups[said.id]: said for said in rank.said.values() if said.id in job.groups}
    counts = {group: Counts(said.asked, said.done) for group, said in known.items()}
    pending = [one for group, said in known.items() if rank.waits_s(said, now_s) > MOVING_S for one in _pending(group, said)]
    return Dump(tuple(known), counts, tuple(sorted(pending, key=lambda one: one.order)), "")


def _pending(group: Group, said: CommGroup) -> Iterator[Pending]:
    if not said.pending:
        yield Pending(group, 0, said.done + 1, "an operation", None, 0)
    for one in said.pending:
        name = one.name.rpartition(":")[2]
        yield Pending(group, one.order, one.number, name, peer_of(one.name, group, "pending.name") if one.message else None, 0)
