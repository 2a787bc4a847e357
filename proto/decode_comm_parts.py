"""What the parts of a record of `gpuwarden.comm.v1` must be. All raise Refused."""

import math
from collections.abc import Sequence
from typing import Final

from gpuwarden.proto.comm_pb2 import CommPhase, CommProgress, CommRas, CommRasCommunicator, CommTimes
from gpuwarden.proto.decode import MAX_NAME_CHARS, Refused

MAX_TEXT_CHARS: Final = 300
MAX_RANKS: Final = 100_000
MAX_ITEMS: Final = 1024  # operations of a record, pending ones of a group
MAX_COMMUNICATORS: Final = 100_000
MAX_COUNT: Final = 2**62
MAX_S: Final = 1e9


def check_times(times: Sequence[CommTimes]) -> None:
    if len(times) > MAX_ITEMS:
        raise Refused("timed.times", f"are {len(times)}, at most {MAX_ITEMS} may come")
    for row in times:
        check_text("timed.times.communicator", row.communicator, MAX_NAME_CHARS)
        check_text("timed.times.operation", row.operation, MAX_NAME_CHARS)
        if not row.rank < row.rank_count <= MAX_RANKS or row.peer >= row.rank_count:
            raise Refused("timed.times.rank", f"is {row.rank}, peer {row.peer}, of {row.rank_count}, at most {MAX_RANKS} may be")
        if not row.took_us or len(row.took_us) % 4 or len(row.offsets) not in (0, len(row.took_us)):
            raise Refused("timed.times.took_us", f"has {len(row.took_us)} bytes beside {len(row.offsets)} of offsets, should be four for each operation")
        if max(row.first_sequence, row.dumped_us) >= MAX_COUNT:
            raise Refused("timed.times.first_sequence", f"is {row.first_sequence}, dumped_us {row.dumped_us}, should be less than {MAX_COUNT}")


def check_ras(ras: CommRas) -> None:
    check_text("ras.nccl_version", ras.nccl_version, MAX_NAME_CHARS)
    check_text("ras.at", ras.at, MAX_NAME_CHARS)
    for host in ras.hosts:
        check_text("ras.hosts", host, MAX_NAME_CHARS)
    if len(ras.host) != len(ras.pid) or max(ras.host, default=-1) >= len(ras.hosts):
        raise Refused("ras.host", f"are {len(ras.host)} of {len(ras.pid)} processes, of {len(ras.hosts)} hosts")
    if not 0 < len(ras.communicators) <= MAX_COMMUNICATORS:
        raise Refused("ras.communicators", f"are {len(ras.communicators)}, should be 1 to {MAX_COMMUNICATORS}")
    for communicator in ras.communicators:
        _check_communicator(communicator, len(ras.pid))


def _check_communicator(of: CommRasCommunicator, processes: int) -> None:
    check_text("ras.communicators.key", of.key, MAX_NAME_CHARS)
    if {len(of.process), len(of.running)} != {len(of.rank)} or {len(of.absent_process), len(of.absent_dead)} != {len(of.absent_rank)}:
        raise Refused("ras.communicators.rank", f"are {len(of.rank)} and {len(of.absent_rank)} absent, beside other numbers of processes")
    if max((*of.process, *of.absent_process), default=-1) >= processes or max((*of.rank, *of.absent_rank, of.size), default=-1) > MAX_RANKS:
        raise Refused("ras.communicators.process", f"is not one of {processes}, or a rank of more than {MAX_RANKS}")
    for launched in of.launched:
        check_text("ras.communicators.launched.operation", launched.operation, MAX_NAME_CHARS)
        if len(launched.count) != len(of.rank):
            raise Refused("ras.communicators.launched.count", f"are {len(launched.count)} of {len(of.rank)} ranks")


def check_progress(progress: CommProgress) -> None:
    """Loss and gradients may be anything: that is what is looked at."""
    if progress.rank >= MAX_RANKS or progress.step >= MAX_COUNT:
        raise Refused("progress.rank", f"is {progress.rank}, step {progress.step}: at most {MAX_RANKS} and {MAX_COUNT} may come")
    if progress.phase not in CommPhase.values():
        raise Refused("progress.phase", f"{progress.phase} is not known")
    check_s("progress.age_s", progress.age_s)


def check_text(field: str, text: str, most: int) -> None:
    if len(text) > most:
        raise Refused(field, f"has {len(text)} characters, at most {most} may come")


def check_s(field: str, value_s: float) -> None:
    if not (math.isfinite(value_s) and 0 <= value_s < MAX_S):
        raise Refused(field, f"is {value_s:g}, should be seconds, 0 or more")
