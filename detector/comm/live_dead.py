"""Which rank's end ended the others.

Where a process dies, its peers' connections to it break: they end by an exception of the communication library, or wait. So the first to go without a word, or by an
exception of its own, is the cause, if others bear witness; where nobody does, the job was ended from outside. torchrun ends all others as soon as one has failed, at times before
any of them could say a word: then it bears witness itself, by what it ends with. It is not asked which rank it was.
"""

import re
from dataclasses import dataclass
from typing import Final

from gpuwarden.detector.comm.live_job import LiveJob, LiveRank
from gpuwarden.proto.comm_pb2 import COMM_END_RAISED, COMM_END_SILENT

SETTLED_S: Final = 3.0  # after the first has gone: all that follows from it is known
WAITS_S: Final = 3.0
SAME_NODE_S: Final = 0.002  # one clock
OTHER_NODE_S: Final = 2.5  # two passes of two agents
CHILD_FAILED: Final = "ChildFailedError"  # torch.distributed.elastic.multiprocessing.errors
_OF_LIBRARY: Final = re.compile(r"\b(gloo|nccl|DistBackendError|DistNetworkError)\b|connection (closed|reset) by peer", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Death:
    """`ranks`: more than one where several went at once. `witnesses` ended by the loss of it, or wait. `launcher`: it bears witness."""

    ranks: tuple[int, ...]
    witnesses: tuple[int, ...]
    launcher: bool
    ended_s: float


def death_in(job: LiveJob, now_s: float) -> Death | None:
    suspects = {number: rank for number, rank in job.ranks.items() if _by_itself(rank)}
    if not suspects:
        return None
    first = min(suspects.values(), key=lambda rank: rank.ended_s)
    if now_s - first.ended_s < SETTLED_S:
        return None
    tied = tuple(sorted(number for number, rank in suspects.items() if rank.ended_s - first.ended_s <= _unsure_s(first, rank)))
    running = dict(job.running(now_s))
    witnesses = tuple(sorted(
        number for number, rank in job.ranks.items()
        if number not in tied and (_by_loss(rank) or (number in running and rank.longest_s(now_s) > WAITS_S))
    ))  # fmt: skip
    launcher = job.launcher.startswith(CHILD_FAILED)
    return Death(tied, witnesses, launcher, first.ended_s) if witnesses or launcher else None


def _by_itself(rank: LiveRank) -> bool:
    return rank.end == COMM_END_SILENT or (rank.end == COMM_END_RAISED and not _by_loss(rank))


def _by_loss(rank: LiveRank) -> bool:
    return rank.end == COMM_END_RAISED and _OF_LIBRARY.search(rank.reason) is not None


def _unsure_s(first: LiveRank, other: LiveRank) -> float:
    return SAME_NODE_S if first.node == other.node else OTHER_NODE_S

