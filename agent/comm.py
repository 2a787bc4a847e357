"""What is known of jobs as records of `gpuwarden.comm.v1`."""

from collections.abc import Iterable, Mapping
from typing import assert_never

from gpuwarden.agent.reading import (
    CommReading,
    Progress,
    ProgressReading,
    RankGroup,
    RankReading,
    RankTimed,
    RasReading,
    TimedReading,
    TimesRow,
)
from gpuwarden.core.nccl.process import Process
from gpuwarden.core.nccl.ras import Answer, Communicator
from gpuwarden.proto.comm_pb2 import (
    CommEnd,
    CommGroup,
    CommLaunched,
    CommOperations,
    CommPending,
    CommPhase,
    CommProgress,
    CommRas,
    CommRasCommunicator,
    CommSummary,
    CommTimed,
    CommTimes,
)
from gpuwarden.proto.encode import COMM_VERSION


def record(node: str, agent_start: str, sequence: int, unix_ns: int, reading: CommReading) -> bytes:
    """One reading, ready for the bus."""
    summary = _said(reading)
    summary.version, summary.node, summary.agent_start, summary.sequence, summary.unix_ns = COMM_VERSION, node, agent_start, sequence, unix_ns
    return summary.SerializeToString()


def _said(reading: CommReading) -> CommSummary:
    match reading:
        case RankReading():
            return CommSummary(
                job_id=reading.job, rank=reading.rank, rank_count=reading.ranks, pid=reading.pid, attempt=reading.attempt, operations=_operations(reading.timed),
                groups=map(_group, reading.groups), end=CommEnd.ValueType(reading.end.value), end_reason=reading.why, age_s=reading.age_s, launcher=reading.launcher,
            )  # fmt: skip
        case TimedReading():
            return CommSummary(job_id=reading.job, pid=reading.pid, timed=CommTimed(times=map(_times, reading.rows)))
        case RasReading():
            return CommSummary(job_id=reading.job, pid=reading.pid, ras=_ras(reading.answer))
        case ProgressReading():
            return CommSummary(job_id=reading.job, pid=reading.pid, progress=_progress(reading.progress, reading.age_s, reading.ended))
        case _:
            assert_never(reading)


def _times(row: TimesRow) -> CommTimes:
    return CommTimes(
        communicator=row.communicator, rank=row.rank, rank_count=row.ranks, operation=row.name, peer=row.peer, size_bucket_bytes=row.size_bucket_bytes,
        dumped_us=row.dumped_us, first_sequence=row.first, offsets=row.offsets, took_us=row.took_us,
    )  # fmt: skip


def _progress(of: Progress, age_s: float, ended: bool) -> CommProgress:
    return CommProgress(rank=of.rank, step=of.step, loss=of.loss, grad_norm=of.grad_norm, phase=CommPhase.ValueType(of.phase.value), age_s=age_s, ended=ended)


def _ras(answer: Answer) -> CommRas:
    """Each process once."""
    told = [process for of in answer.communicators for process in of.processes]
    processes = {process: place for place, process in enumerate(dict.fromkeys(told))}
    hosts = {host: place for place, host in enumerate(dict.fromkeys(process.host for process in processes))}
    return CommRas(
        nccl_version=answer.version, at=answer.at, hosts=hosts, host=[hosts[process.host] for process in processes], pid=[process.pid for process in processes],
        communicators=[_communicator(one, processes) for one in answer.communicators],
    )  # fmt: skip


def _communicator(of: Communicator, processes: Mapping[Process, int]) -> CommRasCommunicator:
    operations = dict.fromkeys(name for member in of.members for name in member.launched)
    return CommRasCommunicator(
        key=of.key, size=of.size, rank=[one.rank for one in of.members], process=[processes[one.process] for one in of.members],
        running=[one.running for one in of.members],
        launched=[CommLaunched(operation=name, count=[one.launched.get(name, 0) for one in of.members]) for name in operations],
        absent_rank=[one.rank for one in of.absent], absent_process=[processes[one.process] for one in of.absent], absent_dead=[one.dead for one in of.absent],
    )  # fmt: skip


def job_of(payload: bytes) -> str:
    """The key that a record goes under."""
    return CommSummary.FromString(payload).job_id


def _group(group: RankGroup) -> CommGroup:
    pending = [CommPending(order=p.order, number=p.number, name=p.name, message=p.message, age_s=p.age_s) for p in group.pending]
    return CommGroup(id=group.id, desc=group.desc, ranks=group.ranks, asked=group.asked, done=group.done, oldest_s=group.oldest_s, pending=pending)


def _operations(timed: Iterable[RankTimed]) -> Iterable[CommOperations]:
    """One each: their numbers stand for the same operation at all ranks, which sums over seconds would lose."""
    for one in timed:
        yield CommOperations(
            operation=one.name, size_bucket_bytes=_bucket(one.elements), first_sequence=one.number, last_sequence=one.number, count=1,
            time_sum_s=one.took_s, time_min_s=one.took_s, time_max_s=one.took_s, group=one.group, age_s=one.age_s,
        )  # fmt: skip


def _bucket(elements: int) -> int:
    """The largest power of two that is not above it; of elements, since gloo's entries tell no bytes."""
    return 1 << (elements.bit_length() - 1) if elements else 0
