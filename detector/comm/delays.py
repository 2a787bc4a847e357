"""Whose network is slow: from the delay matrix of messages, and from communicators in which even the last to come takes long.

C4D: of the matrix a hot cell is that path, a hot row what its sender sends by, a hot column what its receiver receives by, both of one host its network;
all cells up is the fabric, and nobody's fault. Within a ring nobody sees a path: a communicator tells only that one of its hosts is slow, and of a host that is
in one that goes well that it is not.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from gpuwarden.core.nccl.process import Process
from gpuwarden.detector.comm.cover import Over, behind
from gpuwarden.detector.comm.timings import Together
from gpuwarden.detector.comm.verdict import Finding, confidence_of, listed
from gpuwarden.detector.robust import median

SLOW, PATH = "communication slow", "slow_path"
SLOWER: Final = 1.15  # times the usual
SURELY_WELL: Final = 1.07  # below that; what is between is nobody's witness
USUAL: Final = 0.25  # quantile: a network may be part of more than half of all paths
LEAST_LIKE: Final = 3  # paths or communicators, before one of them can be called slower than usual

Delays = Mapping[tuple[Process, Process], float]


@dataclass(frozen=True, slots=True)
class Way:
    """What goes over some hosts' networks: messages from one host to another, or a communicator. `source` and `target` of messages. `times` the usual;
    `sure`: so many others were looked at that what is usual is well."""

    hosts: frozenset[str]
    source: str | None
    target: str | None
    us: float
    times: float
    sure: bool
    said: str

    @property
    def slow(self) -> bool:
        return self.times > SLOWER

    @property
    def well(self) -> bool:
        return self.sure and self.times < SURELY_WELL


@dataclass(frozen=True, slots=True)
class Path:
    """Something slow that is of one of these hosts, or between them; `explained` by it. `looked_at`: how many ways in all."""

    hosts: frozenset[str]
    explained: tuple[Way, ...]
    looked_at: int

    @property
    def added_us(self) -> float:
        """What it adds to a collective, or to a message."""
        return max(way.us - way.us / way.times for way in self.explained)

    def finding(self, ranks: Mapping[Process, int]) -> Finding:
        numbers = tuple(sorted(rank for process, rank in ranks.items() if process.host in self.hosts))
        which = next(iter(self.hosts)) if len(self.hosts) == 1 else f"one of {', '.join(sorted(self.hosts))}, or what is between them"
        worst = max(self.explained, key=lambda way: way.times)
        said = f"{worst.said}; so do {len(self.explained)} of {self.looked_at} that were looked at"
        evidence = (f"the network of {which}, ranks {listed(numbers)}", said)
        return Finding(numbers, SLOW, PATH, round(confidence_of(min(len(self.explained), 6)), 2), evidence, (), 0)


def slow_paths(delays_us: Delays, together: Sequence[Together]) -> list[Path]:
    """Each as few hosts as messages and communicators leave."""
    ways = [*_of_messages(delays_us), *_of_groups(together)]
    alike = [*_alike(ways)]
    slow = [Over(of[0].hosts, of[0].source, of[0].target, any(way.slow for way in of), all(way.well for way in of)) for of in alike]
    found = [(hosts, [way for place in sorted(places) for way in alike[place] if way.slow]) for hosts, places in behind(slow)]
    return [Path(hosts, tuple(explained), len(ways)) for hosts, explained in found]


def _of_messages(delays_us: Delays) -> Iterator[Way]:
    cells = defaultdict[tuple[str, str], list[float]](list)
    for (source, target), us in delays_us.items():
        if source.host != target.host:
            cells[source.host, target.host].append(us)
    matrix = {cell: float(np.median(us)) for cell, us in cells.items()}
    usual_us = float(np.quantile([*matrix.values()], USUAL)) if len(matrix) >= LEAST_LIKE else 0.0
    if usual_us > 0:
        for (sender, receiver), us in matrix.items():
            said = f"messages {sender} to {receiver} take {us:,.0f} us, {usual_us:,.0f} us is usual"
            yield Way(frozenset({sender, receiver}), sender, receiver, us, us / usual_us, True, said)


def _of_groups(together: Sequence[Together]) -> Iterator[Way]:
    alike = defaultdict[tuple[str, int, int], list[tuple[frozenset[str], float]]](list)
    for one in together:
        hosts = frozenset(member.host for member in one.members)
        if len(hosts) > 1:
            told = ~np.isnan(one.took_us).all(axis=1)
            alike[one.kind.name, one.kind.size_bytes, len(one.members)].append((hosts, float(median(np.nanmin(one.took_us[told], axis=1)))))
    for (name, size_bytes, members), like in alike.items():
        usual_us = float(np.quantile([us for _, us in like], USUAL)) if len(like) >= LEAST_LIKE else 0.0
        if usual_us > 0:
            sure = len({hosts for hosts, _ in like}) >= LEAST_LIKE
            for hosts, us in like:
                what = f"{name} of {size_bytes:,} bytes of {members} ranks"
                yield Way(hosts, None, None, us, us / usual_us, sure, f"{what} takes {us:,.0f} us even for the last to come, {usual_us:,.0f} us elsewhere")


def _alike(ways: Sequence[Way]) -> Iterator[tuple[Way, ...]]:
    """Those over the same hosts, since these bear the same witness."""
    same = defaultdict[tuple[frozenset[str], str | None], list[Way]](list)
    for way in ways:
        same[way.hosts, way.source].append(way)
    return (tuple(of) for of in same.values())
