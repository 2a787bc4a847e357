"""The fewest hosts that explain which ways are slow and which go well.

A host's network may be slow both ways, or only what it sends, or only what it receives; and a path between two. Whatever goes over what is slow is slow, so a
part over which something goes well is not it. Of all explanations the smallest count: parts that take each other's place in these cannot be told apart.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

MOST_PARTS: Final = 3  # slow ones at once
MOST_TRIED: Final = 20_000
Places = frozenset[int]


@dataclass(frozen=True, slots=True)
class Over:
    """What goes over these hosts' networks: messages from `source` to `target`, or a communicator. It may be neither slow nor surely well."""

    hosts: frozenset[str]
    source: str | None
    target: str | None
    slow: bool
    well: bool


def behind(ways: Sequence[Over]) -> Iterator[tuple[frozenset[str], Places]]:
    """For each slow part the hosts that it may be of, and the places of the slow ways that it explains."""
    slow = frozenset(place for place, way in enumerate(ways) if way.slow)
    hosts_of = _candidates(ways, slow)
    best = _smallest(slow, [*hosts_of])
    for alternatives in _alike(best):
        yield frozenset(host for one in alternatives for host in hosts_of[one]), frozenset[int]().union(*alternatives)


def _candidates(ways: Sequence[Over], slow: Places) -> Mapping[Places, frozenset[str]]:
    """Slow ways that one part explains, and the hosts that this part may be of."""
    over, found = defaultdict[tuple[str, ...], set[int]](set), defaultdict[Places, frozenset[str]](frozenset)
    for place, way in enumerate(ways):
        for host in way.hosts:
            over[host, "both"].add(place)
            if way.target != host:
                over[host, "sends"].add(place)
            if way.source != host:
                over[host, "receives"].add(place)
    well = {place for place, way in enumerate(ways) if way.well}
    for (host, _), places in over.items():
        if not places & well and places & slow:
            found[slow & places] |= {host}
    for place in slow:
        if ways[place].source is not None and not any(place in one and len(one) == 1 for one in found):
            found[frozenset({place})] = ways[place].hosts
    return found


def _smallest(slow: Places, candidates: Sequence[Places]) -> list[tuple[Places, ...]]:
    """All explanations with as few parts as possible; where that would take too long, or too many parts, the one that takes the largest first."""
    tried = 0
    for parts in range(1, MOST_PARTS + 1):
        found = list[tuple[Places, ...]]()
        for some in combinations(candidates, parts):
            tried += 1
            if slow <= frozenset[int]().union(*some):
                found.append(some)
            if tried > MOST_TRIED:
                return [_greedy(slow, candidates)]
        if found:
            return found
    return [_greedy(slow, candidates)]


def _greedy(slow: Places, candidates: Sequence[Places]) -> tuple[Places, ...]:
    chosen, left = list[Places](), set(slow)
    while left and (best := max(candidates, key=lambda one: (len(one & left), sorted(one)), default=frozenset())) & left:
        chosen.append(best)
        left -= best
    return tuple(chosen)


def _alike(explanations: Sequence[tuple[Places, ...]]) -> Iterator[list[Places]]:
    """Parts that explain some of the same, of which no explanation needs both."""
    parts = sorted({part for one in explanations for part in one}, key=sorted)
    needed = {frozenset({one, other}) for of in explanations for one, other in combinations(of, 2)}
    while parts:
        first, *parts = parts
        same = [first, *(other for other in parts if first & other and frozenset({first, other}) not in needed)]
        parts = [other for other in parts if other not in same]
        yield same
