"""Ranks' words as records of `gpuwarden.comm.v1`."""

from collections.abc import Iterable

from gpuwarden.agent.reading import RankGroup, RankReading, RankTimed
from gpuwarden.proto.comm_pb2 import CommEnd, CommGroup, CommOperations, CommPending, CommSummary
from gpuwarden.proto.encode import COMM_VERSION


def record(node: str, agent_start: str, sequence: int, unix_ns: int, reading: RankReading) -> bytes:
    """One word, ready for the bus."""
    return CommSummary(
        version=COMM_VERSION, node=node, agent_start=agent_start, sequence=sequence, unix_ns=unix_ns, job_id=reading.job, rank=reading.rank,
        rank_count=reading.ranks, pid=reading.pid, attempt=reading.attempt, operations=_operations(reading.timed),
        groups=map(_group, reading.groups), end=CommEnd.ValueType(reading.end.value), end_reason=reading.why, age_s=reading.age_s, launcher=reading.launcher,
    ).SerializeToString()  # fmt: skip


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
