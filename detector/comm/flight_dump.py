"""A rank's dump of PyTorch's Flight Recorder: what it had asked of its process groups and what was done when it was written.

Layout of torch 2.4 to 2.11, versions 2.1 to 2.10 of the format (torch/csrc/distributed/c10d/FlightRecorder.hpp), as pickle or as JSON. Both
come from a job that has failed, on machines that are not ours: nothing is unpickled but plain containers and numbers.
"""

import io
import json
import math
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, Never

from gpuwarden.core.nccl.fields import Bad, items, mapping, shown, whole

MOST_BYTES: Final = 256 << 20
MAJOR: Final = "2"
MOST_RANKS: Final = 1_000_000
KEPT_GROUPS: Final = 2048  # read once for all their ranks
KEPT_CHARS: Final = 1 << 15
# What unpickling bytes that are no pickle may raise (the documentation of `pickle` names some, "but not necessarily limited to").
_DAMAGED: Final = (
    pickle.UnpicklingError, EOFError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, MemoryError, RecursionError, NotImplementedError,
)
_PROTOCOL: Final = b"\x80"  # the first byte of a pickle since protocol 2


@dataclass(frozen=True, slots=True)
class Group:
    """A process group, as one rank knows it. `ranks` are of the whole job; a rank within the group is a place in it."""

    desc: str
    ranks: tuple[int, ...]
    _hash: int = field(init=False, repr=False, compare=False)  # of thousands of ranks, asked for again and again

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hash", hash((self.desc, self.ranks)))

    def __hash__(self) -> int:
        return self._hash


@dataclass(frozen=True, slots=True)
class Pending:
    """An operation that a rank has asked for and that is not done. `order`: of all that this rank has asked for, ascending.

    `peer`: of the whole job, None for a collective. `number`: counts the group's operations at this rank, alike at all its ranks for collectives.
    """

    group: Group
    order: int
    number: int
    name: str
    peer: int | None
    created_ns: int

    @property
    def said(self) -> str:
        """For a person, with ranks of the whole job."""
        if self.peer is None:
            return f"{self.name} {self.number}"
        return f"{self.name.partition(' ')[0]} {'to' if '->' in self.name else 'from'} {self.peer}"


@dataclass(frozen=True, slots=True)
class Counts:
    """How many operations of a group a rank has asked for, and how many of these are done."""

    asked: int
    done: int


@dataclass(frozen=True, slots=True)
class Dump:
    """`counts` only of groups of which it is certain which they are."""

    groups: tuple[Group, ...]
    counts: Mapping[Group, Counts]
    pending: tuple[Pending, ...]
    library: str


class _Plain(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Never:
        raise Bad(f"pickle: asks for {module}.{name}; a dump holds plain values only")

    def persistent_load(self, pid: object) -> Never:
        raise Bad("pickle: asks for an object from elsewhere; a dump holds plain values only")


def read(payload: bytes) -> Dump:
    """Raises Bad."""
    if len(payload) > MOST_BYTES:
        raise Bad(f"file: has {len(payload)} bytes, at most {MOST_BYTES} are read")
    dump = mapping(_loaded(payload), "file")
    version = dump.get("version")
    if not isinstance(version, str) or version.partition(".")[0] != MAJOR:
        raise Bad(f"version: is {version!r}, this reader knows {MAJOR}.x")
    groups = {str(name): _group(config, f"pg_config.{name}") for name, config in mapping(dump.get("pg_config"), "pg_config").items()}
    entries = items(dump.get("entries", []), "entries")
    named, pending = dict[str, str](), list[Pending]()
    for place, entry in enumerate(entries):
        _take(mapping(entry, f"entries[{place}]"), f"entries[{place}]", groups, named, pending)
    counts = _counts(mapping(dump.get("pg_status", {}), "pg_status"), groups, named)
    library = dump.get("nccl_version", dump.get("comm_lib_version", ""))
    return Dump(tuple(groups.values()), counts, tuple(sorted(pending, key=lambda one: one.order)), str(library))


def _loaded(payload: bytes) -> object:
    try:
        if payload[:1] == _PROTOCOL:
            return _Plain(io.BytesIO(payload)).load()
        return json.loads(payload)
    except Bad:
        raise
    except _DAMAGED as why:
        raise Bad(f"file: is neither a whole pickle nor JSON: {str(why)[:200] or type(why).__name__}") from None


def _group(config: object, name: str) -> Group:
    of = mapping(config, name)
    desc, ranks = str(of.get("desc", "")), of.get("ranks")
    if isinstance(ranks, str):
        found = _kept(desc, ranks) if len(ranks) <= KEPT_CHARS else _of_text(desc, ranks)
    else:
        found = _of_list(desc, ranks)
    if isinstance(found, str):
        raise Bad(f"{name}.ranks: {found}")
    return found


def _of_text(desc: str, text: str) -> Group | str:
    """Or what is wrong with it."""
    try:
        return _of_list(desc, json.loads(text))
    except ValueError:
        return f"is {shown(text)}, should be such as '[0, 1]'"


_kept: Final = lru_cache(maxsize=KEPT_GROUPS)(_of_text)
"""All of a group's ranks write the same."""


def _of_list(desc: str, ranks: object) -> Group | str:
    if not isinstance(ranks, list | tuple) or not all(isinstance(rank, int) and 0 <= rank < MOST_RANKS for rank in ranks):
        return f"is {shown(ranks)}, should be a list of ranks"
    return Group(desc, tuple(ranks)) if len(set(ranks)) == len(ranks) else "has a rank twice"


def _take(entry: Mapping[Any, Any], field: str, groups: Mapping[str, Group], named: dict[str, str], pending: list[Pending]) -> None:
    """What an entry tells: which number the group's has in `pg_status`, and what is pending."""
    group = entry.get("process_group")
    if not isinstance(group, list | tuple) or not group or str(group[0]) not in groups:
        raise Bad(f"{field}.process_group: is {shown(group)}, should name one of pg_config")
    name = str(group[0])
    if "pg_id" in entry:
        named[str(_number(entry, "pg_id", field))] = name
    if entry.get("retired", False) or entry.get("state") == "completed":
        return
    number = _number(entry, "op_id" if entry.get("is_p2p") else "collective_seq_id", field)
    profiling = str(entry.get("profiling_name", ""))
    peer = peer_of(profiling, groups[name], field) if entry.get("is_p2p") else None
    pending.append(Pending(groups[name], _number(entry, "record_id", field), number, profiling.removeprefix("nccl:"), peer, _number(entry, "time_created_ns", field)))


def peer_of(name: str, group: Group, field: str) -> int:
    """Of "send 0->1" and "recv 1<-0", ranks within the group, the second. Raises Bad."""
    for arrow in ("->", "<-"):
        place = name.rpartition(arrow)[2] if arrow in name else ""
        if place.isdecimal() and int(place) < len(group.ranks):
            return group.ranks[int(place)]
    raise Bad(f"{field}.profiling_name: is {shown(name)}, should be such as 'nccl:send 0->1', of ranks within a group of {len(group.ranks)}")


def _counts(statuses: Mapping[Any, Any], groups: Mapping[str, Group], named: Mapping[str, str]) -> dict[Group, Counts]:
    """Statuses go by numbers that entries alone join to names. Where a rank has as many of both, it has numbered its groups in the order of their names."""
    numbers, names = sorted(map(str, statuses), key=_order), sorted(groups, key=_order)
    joined = dict(named)
    in_order = dict(zip(numbers, names, strict=False))
    if len(numbers) == len(names) and all(in_order.get(number, name) == name for number, name in named.items()):
        joined = in_order
    counts = dict[Group, Counts]()
    for number, status in statuses.items():
        if (name := joined.get(str(number))) is not None:
            of, field = mapping(status, f"pg_status.{number}"), f"pg_status.{number}"
            counts[groups[name]] = Counts(_number(of, "last_enqueued_collective", field), _number(of, "last_completed_collective", field))
    return counts


def _order(name: str) -> tuple[float, str]:
    return (int(name), "") if name.isdecimal() else (math.inf, name)


def _number(of: Mapping[Any, Any], name: str, field: str) -> int:
    """JSON dumps write some numbers as words, and an unknown time is none."""
    value = of.get(name)
    if isinstance(value, str) and value.lstrip("-").isdecimal():
        value = int(value)
    return 0 if value is None and name == "time_created_ns" else whole(value, f"{field}.{name}")
