"""An answer of NCCL's RAS port to `VERBOSE STATUS` in JSON (NCCL 2.28.7 and later): what each process has launched, and who is missing.

Layout as NCCL's `src/ras/client_support.cc` writes it. Of 2.28.9 the comma between two missing ranks is missing too.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

MOST_BYTES: Final = 256 << 20
MOST_COUNT: Final = 2**63
READY: Final = 0
_OPENING: Final = re.compile(r"^(?:SERVER PROTOCOL \d+|OK)[ \t]*\r?\n", re.MULTILINE)
_NO_COMMA: Final = re.compile(r"\}(\s*)\{")


class BadAnswer(ValueError):
    """The field and the reason."""


@dataclass(frozen=True, slots=True)
class Process:
    """Of a job. A host may run several."""

    host: str
    pid: int


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


@dataclass(frozen=True, slots=True)
class Answer:
    """`at` as the server writes it: year to second."""

    version: str
    at: str
    communicators: tuple[Communicator, ...]


def read(payload: bytes) -> Answer:
    """With or without what the port says before. Raises BadAnswer."""
    if len(payload) > MOST_BYTES:
        raise BadAnswer(f"file: has {len(payload)} bytes, at most {MOST_BYTES} are read")
    whole = _loaded(_OPENING.sub("", payload.decode("utf-8", errors="replace")))
    communicators = _list(whole, "communicators", "")
    return Answer(_text(whole, "nccl_version", ""), _text(whole, "timestamp", ""), tuple(_communicator(one, f"communicators[{i}].") for i, one in enumerate(communicators)))


def _loaded(text: str) -> Mapping[str, Any]:
    try:
        try:
            whole = json.loads(text)
        except ValueError:
            whole = json.loads(_NO_COMMA.sub(r"},\1{", text))
    except (ValueError, RecursionError) as why:
        raise BadAnswer(f"file: is no JSON, as VERBOSE STATUS gives after SET FORMAT json: {str(why)[:200]}") from None
    if not isinstance(whole, dict):
        raise BadAnswer(f"file: is a {type(whole).__name__}, should be a mapping")
    return whole


def _communicator(of: object, field: str) -> Communicator:
    told = _mapping(of, field)
    members = tuple(_member(one, f"{field}ranks[{i}].") for i, one in enumerate(_list(told, "ranks", field)))
    absent = tuple(_absent(one, f"{field}missing_ranks[{i}].") for i, one in enumerate(_list(told, "missing_ranks", field)))
    key = f"{_text(told, 'hash', field)} {_text(told, 'secondary_hash', field)}"
    return Communicator(key, _whole(told, "size", field), members, absent)


def _member(of: object, field: str) -> Member:
    told = _mapping(of, field)
    status, counts = _mapping(told.get("status"), f"{field}status."), _mapping(told.get("collective_counts"), f"{field}collective_counts.")
    well = _whole(status, "init_state", f"{field}status.") == READY and not _whole(status, "async_error", f"{field}status.")
    ending = any(status.get(flag) is True for flag in ("finalize_called", "destroy_flag", "abort_flag"))
    launched = {str(kind): _whole(counts, kind, f"{field}collective_counts.") for kind in counts}
    return Member(_whole(told, "rank", field), _process(told, field), well and not ending, launched)


def _absent(of: object, field: str) -> Absent:
    told = _mapping(of, field)
    status = told.get("status")
    return Absent(_whole(told, "rank", field), _process(told, field), isinstance(status, dict) and status.get("considered_dead") is True)


def _process(of: Mapping[str, Any], field: str) -> Process:
    return Process(_text(of, "host", field), _whole(of, "pid", field))


def _mapping(value: object, field: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise BadAnswer(f"{field.rstrip('.')}: is a {type(value).__name__}, should be a mapping")
    return value


def _list(of: Mapping[str, Any], name: str, field: str) -> Sequence[object]:
    value = of.get(name)
    if not isinstance(value, list):
        raise BadAnswer(f"{field}{name}: is a {type(value).__name__}, should be a list")
    return value


def _whole(of: Mapping[str, Any], name: str, field: str) -> int:
    value = of.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not -MOST_COUNT < value < MOST_COUNT:
        raise BadAnswer(f"{field}{name}: is {str(value)[:50]!r}, should be a whole number")
    return value


def _text(of: Mapping[str, Any], name: str, field: str) -> str:
    value = of.get(name)
    if not isinstance(value, str):
        raise BadAnswer(f"{field}{name}: is a {type(value).__name__}, should be text")
    return value

