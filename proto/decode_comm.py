"""Reads a record of `gpuwarden.comm.v1`, and checks it once, at the door: inside it is trusted."""

import math
from dataclasses import dataclass
from typing import Final

from google.protobuf.message import DecodeError

from gpuwarden.proto.comm_pb2 import CommEnd, CommGroup, CommOperations, CommSummary
from gpuwarden.proto.decode import MAX_NAME_CHARS, MAX_PAYLOAD_BYTES, Refused
from gpuwarden.proto.encode import COMM_VERSION

MAX_TEXT_CHARS: Final = 300
MAX_RANKS: Final = 100_000
MAX_GROUPS: Final = 256
MAX_ITEMS: Final = 1024  # operations of a record, pending ones of a group
MAX_S: Final = 1e9


@dataclass(frozen=True, slots=True)
class Said:
    """What one rank said, or that its connection ended, `age_s` before it was sent; or what the launcher said at its end."""

    node: str
    agent_start: str
    sequence: int
    unix_ns: int
    job: str
    rank: int
    ranks: int
    pid: int
    attempt: int
    groups: tuple[CommGroup, ...]
    operations: tuple[CommOperations, ...]
    end: "CommEnd.ValueType"
    end_reason: str
    age_s: float
    launcher: bool


def decode_comm(payload: bytes) -> Said:
    """Or Refused."""
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise Refused("payload", f"has {len(payload)} bytes, at most {MAX_PAYLOAD_BYTES} may come")
    try:
        message = CommSummary.FromString(payload)
    except DecodeError as why:
        raise Refused("payload", f"is not a CommSummary message: {why}") from None
    _check_head(message)
    for group in message.groups:
        _check_group(group)
    for operation in message.operations:
        _check_text("operations.operation", operation.operation, MAX_TEXT_CHARS)
        _check_s("operations.time_max_s", operation.time_max_s)
        _check_s("operations.age_s", operation.age_s)
    return Said(
        message.node, message.agent_start, message.sequence, message.unix_ns, message.job_id, message.rank, message.rank_count, message.pid,
        message.attempt, tuple(message.groups), tuple(message.operations), message.end, message.end_reason, message.age_s, message.launcher,
    )  # fmt: skip


def _check_head(message: CommSummary) -> None:
    if message.version != COMM_VERSION:
        raise Refused("version", f"is {message.version}, this reader knows {COMM_VERSION}")
    for field, text in (("node", message.node), ("agent_start", message.agent_start), ("job_id", message.job_id)):
        if not text:
            raise Refused(field, "is empty")
        _check_text(field, text, MAX_TEXT_CHARS if field == "job_id" else MAX_NAME_CHARS)
    _check_text("end_reason", message.end_reason, MAX_TEXT_CHARS)
    if message.sequence == 0:
        raise Refused("sequence", "is 0, counting starts at 1")
    if not message.rank < message.rank_count <= MAX_RANKS:
        raise Refused("rank", f"is {message.rank} of {message.rank_count}, at most {MAX_RANKS} may be")
    if len(message.groups) > MAX_GROUPS or len(message.operations) > MAX_ITEMS:
        raise Refused("groups", f"are {len(message.groups)} with {len(message.operations)} operations, at most {MAX_GROUPS} with {MAX_ITEMS} may come")
    if message.end not in CommEnd.values():
        raise Refused("end", f"{message.end} is not known")
    _check_s("age_s", message.age_s)


def _check_group(group: CommGroup) -> None:
    _check_text("groups.id", group.id, MAX_NAME_CHARS)
    _check_text("groups.desc", group.desc, MAX_TEXT_CHARS)
    if len(group.ranks) > MAX_RANKS or max(group.ranks, default=0) >= MAX_RANKS or len(set(group.ranks)) != len(group.ranks):
        raise Refused("groups.ranks", f"hold a rank twice, or one of more than {MAX_RANKS}")
    if group.done > group.asked:
        raise Refused("groups.done", f"is {group.done} of {group.asked} asked for")
    if len(group.pending) > MAX_ITEMS:
        raise Refused("groups.pending", f"are {len(group.pending)}, at most {MAX_ITEMS} may come")
    _check_s("groups.oldest_s", group.oldest_s)
    for pending in group.pending:
        _check_text("groups.pending.name", pending.name, MAX_TEXT_CHARS)
        _check_s("groups.pending.age_s", pending.age_s)


def _check_text(field: str, text: str, most: int) -> None:
    if len(text) > most:
        raise Refused(field, f"has {len(text)} characters, at most {most} may come")


def _check_s(field: str, value_s: float) -> None:
    if not (math.isfinite(value_s) and 0 <= value_s < MAX_S):
        raise Refused(field, f"is {value_s:g}, should be seconds, 0 or more")
