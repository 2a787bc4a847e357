"""Slurm's hostlist form: `gpu[01-64],login1` stands for 65 names."""

import re
from collections.abc import Iterable, Iterator

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_RANGE = re.compile(r"(?P<prefix>[^\[\]]*)\[(?P<first>\d+)-(?P<last>\d+)\](?P<suffix>[^\[\]]*)")
MAX_NODES = 10_000


class BadHostlist(ValueError):
    """Not a node name or a range of them."""


def expand(hostlists: Iterable[str]) -> tuple[str, ...]:
    """All names, in order; BadHostlist names the piece that is wrong, or that occurs twice."""
    names: dict[str, None] = {}
    for piece in hostlists:
        for name in _expand(piece):
            if name in names:
                raise BadHostlist(f"{piece!r}: node {name!r} occurs twice")
            names[name] = None
    if len(names) > MAX_NODES:
        raise BadHostlist(f"{len(names)} nodes are more than {MAX_NODES}")
    return tuple(names)


def _expand(piece: str) -> Iterator[str]:
    spread = _RANGE.fullmatch(piece)
    names = _spread(spread) if spread else iter((piece,))
    for name in names:
        if not _NAME.fullmatch(name):
            raise BadHostlist(f"{piece!r}: {name!r} is not a node name")
        yield name


def _spread(match: re.Match[str]) -> Iterator[str]:
    first, last, width = int(match["first"]), int(match["last"]), len(match["first"])
    if not first <= last < first + MAX_NODES:
        raise BadHostlist(f"{match[0]!r}: a range goes upwards and has at most {MAX_NODES} nodes")
    return (f"{match['prefix']}{number:0{width}}{match['suffix']}" for number in range(first, last + 1))
