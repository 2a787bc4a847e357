"""An answer of NCCL's RAS port to `VERBOSE STATUS` in JSON (NCCL 2.28.7 and later): what each process has launched, and who is missing.

Layout as NCCL's `src/ras/client_support.cc` writes it. Of 2.28.9 the comma between two missing ranks is missing too.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from gpuwarden.core.nccl.fields import Bad, count, items, mapping, text, whole
from gpuwarden.core.nccl.process import Process

MOST_BYTES: Final = 256 << 20
READY: Final = 0
_OPENING: Final = re.compile(r"^(?:SERVER PROTOCOL \d+|OK)[ \t]*\r?\n", re.MULTILINE)
_NO_COMMA: Final = re.compile(r"\}(\s*)\{")


@dataclass(frozen=True, slots=True)
class Member:
    """A rank of a communicator that answered. `launched`: how many of each collective. `running`: neither being set up nor taken down, and well."""

    rank: int
    process: Process
    running: bool
    launched: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Absent:
    """A rank that did not answer; `dead` for good as RAS sees it."""

    rank: int
    process: Process
    dead: bool


@dataclass(frozen=True, slots=True)
class Communicator:
    """`key` is the same in every answer."""

    key: str
    size: int
    members: tuple[Member, ...]
    absent: tuple[Absent, ...]

    @property
    def processes(self) -> tuple[Process, ...]:
        """In order of `members` and `absent`."""
        return (*(member.process for member in self.members), *(absent.process for absent in self.absent))

    @property
    def ranks(self) -> tuple[int, ...]:
        """As `processes`."""
        return (*(member.rank for member in self.members), *(absent.rank for absent in self.absent))


@dataclass(frozen=True, slots=True)
class Answer:
    """`at` as the server writes it: year to second. `mended`: it was no JSON as it came."""

    version: str
    at: str
    communicators: tuple[Communicator, ...]
    mended: bool = False


def read(payload: bytes) -> Answer:
    """With or without what the port says before. Raises Bad."""
    if len(payload) > MOST_BYTES:
        raise Bad(f"file: has {len(payload)} bytes, at most {MOST_BYTES} are read")
    answer, mended = _loaded(_OPENING.sub("", payload.decode("utf-8", errors="replace")))
    communicators = tuple(_communicator(one, f"communicators[{i}]") for i, one in enumerate(items(answer.get("communicators"), "communicators")))
    return Answer(text(answer.get("nccl_version"), "nccl_version"), text(answer.get("timestamp"), "timestamp"), communicators, mended)


def _loaded(told: str) -> tuple[Mapping[str, Any], bool]:
    mended = False
    try:
        try:
            answer = json.loads(told)
        except ValueError:
            answer, mended = json.loads(_NO_COMMA.sub(r"},\1{", told)), True
    except (ValueError, RecursionError) as why:
        raise Bad(f"file: is no JSON, as VERBOSE STATUS gives after SET FORMAT json: {str(why)[:200]}") from None
    return mapping(answer, "file"), mended


def _communicator(of: object, field: str) -> Communicator:
    told = mapping(of, field)
    members = tuple(_member(one, f"{field}.ranks[{i}]") for i, one in enumerate(items(told.get("ranks"), f"{field}.ranks")))
    absent = tuple(_absent(one, f"{field}.missing_ranks[{i}]") for i, one in enumerate(items(told.get("missing_ranks"), f"{field}.missing_ranks")))
    key = " ".join(text(told.get(name), f"{field}.{name}") for name in ("hash", "secondary_hash"))
    return Communicator(key, count(told.get("size"), f"{field}.size"), members, absent)


def _member(of: object, field: str) -> Member:
    told = mapping(of, field)
    status, counts = mapping(told.get("status"), f"{field}.status"), mapping(told.get("collective_counts"), f"{field}.collective_counts")
    state, error = (whole(status.get(name), f"{field}.status.{name}") for name in ("init_state", "async_error"))
    ending = any(status.get(flag) is True for flag in ("finalize_called", "destroy_flag", "abort_flag"))
    launched = {str(kind): count(number, f"{field}.collective_counts.{kind}") for kind, number in counts.items()}
    return Member(count(told.get("rank"), f"{field}.rank"), _process(told, field), state == READY and not error and not ending, launched)


def _absent(of: object, field: str) -> Absent:
    told = mapping(of, field)
    status = told.get("status")
    dead = isinstance(status, dict) and status.get("considered_dead") is True
    return Absent(count(told.get("rank"), f"{field}.rank"), _process(told, field), dead)


def _process(of: Mapping[str, Any], field: str) -> Process:
    return Process(text(of.get("host"), f"{field}.host"), count(of.get("pid"), f"{field}.pid"))
