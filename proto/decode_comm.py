"""Reads a record of `gpuwarden.comm.v1`, and checks it once, at the door: inside it is trusted."""

from dataclasses import dataclass
from typing import Final, assert_never

from google.protobuf.message import DecodeError

from gpuwarden.proto.comm_pb2 import (
    CommEnd,
    CommGroup,
    CommOperations,
    CommProgress,
    CommRas,
    CommSummary,
    CommTimes,
)
from gpuwarden.proto.decode import MAX_NAME_CHARS, MAX_PAYLOAD_BYTES, Refused
from gpuwarden.proto.decode_comm_parts import (
    MAX_ITEMS,
    MAX_RANKS,
    MAX_TEXT_CHARS,
    check_progress,
    check_ras,
    check_s,
    check_text,
    check_times,
)
from gpuwarden.proto.encode import COMM_VERSION

MAX_GROUPS: Final = 256


@dataclass(frozen=True, slots=True)
class Head:
    """Who sent a record, and of which job."""

    node: str
    agent_start: str
    sequence: int
    unix_ns: int
    job: str
    pid: int


@dataclass(frozen=True, slots=True)
class Said(Head):
    """What one rank said, or that its connection ended, `age_s` before it was sent; or what the launcher said at its end."""

    rank: int
    ranks: int
    attempt: int
    groups: tuple[CommGroup, ...]
    operations: tuple[CommOperations, ...]
    end: "CommEnd.ValueType"
    end_reason: str
    age_s: float
    launcher: bool


@dataclass(frozen=True, slots=True)
class Timed(Head):
    """What NCCL Inspector wrote of the process `pid`."""

    times: tuple[CommTimes, ...]


@dataclass(frozen=True, slots=True)
class Asked(Head):
    """What NCCL's RAS port answered of the job."""

    ras: CommRas


@dataclass(frozen=True, slots=True)
class Progressed(Head):
    """How far the training is, as its script or log says."""

    progress: CommProgress


Record = Said | Timed | Asked | Progressed


def decode_comm(payload: bytes) -> Record:
    """Or Refused."""
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise Refused("payload", f"has {len(payload)} bytes, at most {MAX_PAYLOAD_BYTES} may come")
    try:
        message = CommSummary.FromString(payload)
    except DecodeError as why:
        raise Refused("payload", f"is not a CommSummary message: {why}") from None
    _check_head(message)
    head = message.node, message.agent_start, message.sequence, message.unix_ns, message.job_id, message.pid
    match message.WhichOneof("source"):
        case None:
            return _said(message, head)
        case "timed":
            check_times(message.timed.times)
            return Timed(*head, tuple(message.timed.times))
        case "ras":
            check_ras(message.ras)
            return Asked(*head, message.ras)
        case "progress":
            check_progress(message.progress)
            return Progressed(*head, message.progress)
        case unknown:
            assert_never(unknown)


def _said(message: CommSummary, head: tuple[str, str, int, int, str, int]) -> Said:
    if not message.rank < message.rank_count <= MAX_RANKS:
        raise Refused("rank", f"is {message.rank} of {message.rank_count}, at most {MAX_RANKS} may be")
    if len(message.groups) > MAX_GROUPS or len(message.operations) > MAX_ITEMS:
        raise Refused("groups", f"are {len(message.groups)} with {len(message.operations)} operations, at most {MAX_GROUPS} with {MAX_ITEMS} may come")
    if message.end not in CommEnd.values():
        raise Refused("end", f"{message.end} is not known")
    for group in message.groups:
        _check_group(group)
    for operation in message.operations:
        check_text("operations.operation", operation.operation, MAX_TEXT_CHARS)
        check_s("operations.time_max_s", operation.time_max_s)
        check_s("operations.age_s", operation.age_s)
    return Said(
        *head, message.rank, message.rank_count, message.attempt, tuple(message.groups), tuple(message.operations), message.end, message.end_reason,
        message.age_s, message.launcher,
    )  # fmt: skip


def _check_head(message: CommSummary) -> None:
    if message.version != COMM_VERSION:
        raise Refused("version", f"is {message.version}, this reader knows {COMM_VERSION}")
    for field, text in (("node", message.node), ("agent_start", message.agent_start), ("job_id", message.job_id)):
        if not text:
            raise Refused(field, "is empty")
        check_text(field, text, MAX_TEXT_CHARS if field == "job_id" else MAX_NAME_CHARS)
    check_text("end_reason", message.end_reason, MAX_TEXT_CHARS)
    if message.sequence == 0:
        raise Refused("sequence", "is 0, counting starts at 1")
    check_s("age_s", message.age_s)


def _check_group(group: CommGroup) -> None:
    check_text("groups.id", group.id, MAX_NAME_CHARS)
    check_text("groups.desc", group.desc, MAX_TEXT_CHARS)
    if len(group.ranks) > MAX_RANKS or max(group.ranks, default=0) >= MAX_RANKS or len(set(group.ranks)) != len(group.ranks):
        raise Refused("groups.ranks", f"hold a rank twice, or one of more than {MAX_RANKS}")
    if group.done > group.asked:
        raise Refused("groups.done", f"is {group.done} of {group.asked} asked for")
    if len(group.pending) > MAX_ITEMS:
        raise Refused("groups.pending", f"are {len(group.pending)}, at most {MAX_ITEMS} may come")
    check_s("groups.oldest_s", group.oldest_s)
    for pending in group.pending:
        check_text("groups.pending.name", pending.name, MAX_TEXT_CHARS)
        check_s("groups.pending.age_s", pending.age_s)
