"""Whose network is slow: from the delay matrix of messages, and from communicators in which even the last to come takes long.

C4D: of the matrix a hot cell is that path, a hot row what its sender sends by, a hot column what its receiver receives by, both of one host its network;
all cells up is the fabric, and nobody's fault. Within a ring nobody sees a path: a communicator tells only that some of its hosts are slow.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from gpuwarden.detector.comm.process import Process
from gpuwarden.detector.comm.timings import Together
from gpuwarden.detector.comm.verdict import Finding, confidence_of, listed

SLOW, PATH = "communication slow", "slow_path"
SLOWER: Final = 1.25  # times the usual
USUAL: Final = 0.25  # quantile: a network may be part of more than half of all paths
LEAST_LIKE: Final = 3  # paths or communicators, before one of them can be called slower than usual

Delays = Mapping[tuple[Process, Process], float]


@dataclass(frozen=True, slots=True)
class Suspicion:
    """One of these hosts, or what is between them, as far as its witnesses tell."""

    hosts: frozenset[str]
    witnesses: int
    evidence: tuple[str, ...]

    def also(self, other: "Suspicion") -> "Suspicion":
        """What both say together."""
        return Suspicion(self.hosts & other.hosts, self.witnesses + other.witnesses, (*self.evidence, *other.evidence))


def slow_paths(delays_us: Delays, together: Sequence[Together], ranks: Mapping[Process, int]) -> list[Finding]:
    """Each as few hosts as messages and communicators leave."""
    by_messages, by_groups = _by_messages(delays_us), _by_groups(together)
    narrowed = [one.also(other) for one in by_messages for other in by_groups if one.hosts & other.hosts]
    told = {host for one in narrowed for host in one.hosts}
    alone = [one for one in (*by_messages, *by_groups) if not one.hosts & told]
    return [_finding(one, ranks) for one in (*narrowed, *alone)]


def _by_messages(delays_us: Delays) -> list[Suspicion]:
    cells = defaultdict[tuple[str, str], list[float]](list)
    for (source, target), us in delays_us.items():
        if source.host != target.host:
            cells[source.host, target.host].append(us)
    matrix = {cell: float(np.median(us)) for cell, us in cells.items()}
    if len(matrix) < LEAST_LIKE:
        return []
    usual_us = float(np.quantile(list(matrix.values()), USUAL))
    slow = {cell for cell, us in matrix.items() if us > SLOWER * usual_us}
    if len(slow) == len(matrix):
        return []
    return [_told(hosts, cells, matrix, usual_us) for cells, hosts in _covering(slow, set(matrix)).items()]


def _covering(slow: set[tuple[str, str]], paths: set[tuple[str, str]]) -> dict[frozenset[tuple[str, str]], set[str]]:
    """Slow paths, and the hosts that may be behind them: hosts of which every path, or every one in a direction, is slow, the most paths first; and
    of a path that no such host explains, both."""
    found, left = dict[frozenset[tuple[str, str]], set[str]](), set(slow)
    hosts = sorted({host for path in slow for host in path})
    choices = [(host, frozenset(path for path in paths if host in path[side])) for host in hosts for side in (slice(0, 2), slice(0, 1), slice(1, 2))]
    while left:
        behind = [(host, of) for host, of in choices if of and of <= slow and of & left]
        if not behind:
            return found | {frozenset({path}): set(path) for path in left}
        most = max(len(of & left) for _, of in behind)
        best = next(of for _, of in behind if len(of & left) == most)
        found[best] = {host for host, of in behind if of & left == best & left}
        left -= best
    return found


def _told(hosts: set[str], paths: frozenset[tuple[str, str]], matrix: Mapping[tuple[str, str], float], usual_us: float) -> Suspicion:
    us = float(np.median([matrix[path] for path in paths]))
    between = ", ".join(f"{source} to {target}" for source, target in sorted(paths))
    return Suspicion(frozenset(hosts), len(paths), (f"messages take {us:,.0f} us, {usual_us:,.0f} us is usual: {between}",))


def _by_groups(together: Sequence[Together]) -> list[Suspicion]:
    alike, found = defaultdict[tuple[str, int, int], list[Together]](list), list[Suspicion]()
    for one in together:
        if len({member.host for member in one.members}) > 1:
            alike[one.kind.name, one.kind.size_bytes, len(one.members)].append(one)
    for (name, size_bytes, _), like in alike.items():
        least_us = [float(np.nanmedian(np.nanmin(one.took_us, axis=1))) for one in like]
        usual_us = float(np.quantile(least_us, USUAL))
        slow = [{member.host for member in one.members} for one, us in zip(like, least_us, strict=True) if us > SLOWER * usual_us]
        well = [{member.host for member in one.members} for one, us in zip(like, least_us, strict=True) if us <= SLOWER * usual_us]
        hosts = set.intersection(*slow).difference(*well) if slow else set()
        if len(like) >= LEAST_LIKE and hosts:
            said = f"{name} of {size_bytes:,} bytes takes {max(least_us):,.0f} us even for the last to come, {usual_us:,.0f} us elsewhere"
            said = f"{said}: in {len(slow)} communicators, all with {', '.join(sorted(hosts))}, and in none of {len(well)} others"
            found.append(Suspicion(frozenset(hosts), 1, (said,)))
    return found


def _finding(suspicion: Suspicion, ranks: Mapping[Process, int]) -> Finding:
    numbers = tuple(sorted(rank for process, rank in ranks.items() if process.host in suspicion.hosts))
    hosts = sorted(suspicion.hosts)
    which = hosts[0] if len(hosts) == 1 else f"one of {', '.join(hosts)}, or what is between them"
    evidence = (f"the network of {which}, ranks {listed(numbers)}", *suspicion.evidence)
    return Finding(numbers, SLOW, PATH, round(confidence_of(suspicion.witnesses), 2), evidence, (), 0)
