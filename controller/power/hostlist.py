"""Slurm's hostlist form: `gpu[01-64],login1` stands for 65 names, `rack[1-2]n[1,3-4]` for six."""

import re
from collections.abc import Iterable, Iterator

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_BRACKET = re.compile(r"(?P<prefix>[^\[\]]*)\[(?P<ranges>[0-9,-]+)\](?P<rest>.*)", re.DOTALL)
_RANGE = re.compile(r"(?P<first>\d{1,9})(-(?P<last>\d{1,9}))?")
_COMMA = re.compile(r",(?![^\[]*\])")  # outside brackets
MAX_NODES = 10_000
MOST_BRACKETS = 4


class BadHostlist(ValueError):
    """Not a node name or a range of them."""


def split(hostlist: str) -> list[str]:
    """The pieces between commas that are in no brackets; none of an empty one."""
    return _COMMA.split(hostlist) if hostlist else []


def expand(hostlists: Iterable[str]) -> tuple[str, ...]:
    """All names, in order; BadHostlist names the piece that is wrong, or that occurs twice."""
    names: dict[str, None] = {}
    for piece in hostlists:
        for name in _expand(piece):
            if name in names:
                raise BadHostlist(f"{piece!r}: node {name!r} occurs twice")
            names[name] = None
            if len(names) > MAX_NODES:
                raise BadHostlist(f"{piece!r}: are more than {MAX_NODES} nodes with those before it")
    return tuple(names)


def _expand(piece: str) -> Iterator[str]:
    if piece.count("[") > MOST_BRACKETS:
        raise BadHostlist(f"{piece[:40]!r}...: has more than {MOST_BRACKETS} brackets")
    for name in _spread(piece):
        if not _NAME.fullmatch(name):
            raise BadHostlist(f"{piece!r}: {name!r} is not a node name")
        yield name


def _spread(piece: str) -> Iterator[str]:
    bracket = _BRACKET.fullmatch(piece)
    if bracket is None:
        yield piece
        return
    for number in _numbers(bracket["ranges"], piece):
        yield from (bracket["prefix"] + number + rest for rest in _spread(bracket["rest"]))


def _numbers(ranges: str, piece: str) -> Iterator[str]:
    for text in ranges.split(","):
        match = _RANGE.fullmatch(text)
        first, last = (int(match["first"]), int(match["last"] or match["first"])) if match else (0, -1)
        if match is None or not first <= last < first + MAX_NODES:
            raise BadHostlist(f"{piece!r}: a range goes upwards and has at most {MAX_NODES} nodes")
        yield from (f"{number:0{len(match['first'])}}" for number in range(first, last + 1))
