"""The tree of a domain's limits, as it is and after each listed contingency: which share of which node's draw goes through which limit."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gpuwarden.controller.power.hostlist import expand
from gpuwarden.controller.power.limit import LimitConfig
from gpuwarden.core.config import option

Shares = NDArray[np.float64]
AFTER: Final = " after "
TOLERANCE: Final = 0.02  # of a node's shares: three phases of 0.33 are meant to be one


@dataclass(frozen=True, slots=True)
class ReplacedLimit:
    """What a limit becomes in a contingency: a UPS that runs on its battery, a feed with half its transformers."""

    limit: str = option("name of the limit")
    rating_w: float = option("what it then carries")
    kind: str | None = option("as of a limit; default: as it was", default=None)
    trip: tuple[tuple[float, ...], ...] | None = option("as of a limit, of a hot one; default: as it was, where the kind is", default=None)

    def problems(self) -> Iterator[str]:
        """What cannot be, each with its key."""
        yield from self.instead_of(LimitConfig("x", 1.0)).problems()

    def instead_of(self, limit: LimitConfig) -> LimitConfig:
        kind = self.kind if self.kind is not None else limit.kind
        if self.trip is not None or kind != limit.kind:
            return replace(limit, rating_w=self.rating_w, kind=kind, trip=self.trip or (), curve="hot")
        return replace(limit, rating_w=self.rating_w)


@dataclass(frozen=True, slots=True)
class Contingency:
    """One thing that may happen at any moment, without notice."""

    name: str = option("name of the contingency")
    lost: tuple[str, ...] = option("limits that carry nothing any more; their nodes draw all they need through their other feeds", default=())
    replaced: tuple[ReplacedLimit, ...] = option("limits that carry another load than usual", default=())

    def problems(self) -> Iterator[str]:
        """What cannot be, each with its key."""
        if not self.lost and not self.replaced:
            yield "lost, replaced: at least one of them should be given"


@dataclass(frozen=True, eq=False)
class Branch:
    """One limit in one case. `shares`: of each node's draw (one entry a node of the domain); `other_w`: what else it carries."""

    name: str
    limit: LimitConfig
    shares: Shares
    other_w: float
    case: str = ""
    """The contingency after which it is so; empty: as it usually is."""

    @property
    def dead_count(self) -> int:
        """Of its nodes, kept at the driver's default in every sum (`allocator`: the larger of 1 and 2 %)."""
        nodes = int(np.count_nonzero(self.shares))
        wanted = self.limit.dead_nodes if self.limit.dead_nodes is not None else max(1, math.ceil(0.02 * nodes))
        return min(wanted, nodes)


@dataclass(frozen=True)
class Topology:
    """`names`: of all nodes. `limits` hang below `root`, which carries every node whole."""

    root: LimitConfig
    limits: tuple[LimitConfig, ...]
    contingencies: tuple[Contingency, ...]
    names: tuple[str, ...]

    def branches(self) -> list[Branch]:
        """Every limit that carries nodes, in every case that changes it, the smallest first; the root as it usually is comes last."""
        usual, base_w = self.through(), self.base_w()
        made = [Branch(limit.name, limit, usual[limit.name], base_w[limit.name]) for limit in self.limits]
        for case in self.contingencies:
            made += self._after(case, usual)
        made = sorted((branch for branch in made if branch.shares.any()), key=lambda branch: np.count_nonzero(branch.shares))
        top = Branch(self.root.name, self.root, np.ones(len(self.names)), base_w[self.root.name])
        return [*made, top]

    def through(self) -> dict[str, Shares]:
        """The share of each node's draw that goes through each limit as it usually is, the root included."""
        return self._loads(self.attached(), frozenset())

    def base_w(self) -> dict[str, float]:
        """What hangs on each limit, or on one below it, beside nodes, as declared."""
        return self._base_w(frozenset())

    def attached(self) -> dict[str, Shares]:
        """The share of each node that hangs on each limit directly; on the root hangs whole what hangs nowhere else.

        Three phases of 0.33 are meant to be one: where shares add up to less, all of a node's are raised alike.
        """
        written = self.written()
        sums = np.sum([*written.values(), np.zeros(len(self.names))], axis=0)
        whole = np.divide(1.0, sums, out=np.ones(len(self.names)), where=(sums > 0.0) & (sums < 1.0))
        return {**{name: shares * whole for name, shares in written.items()}, self.root.name: 1.0 * (sums == 0.0)}

    def written(self) -> dict[str, Shares]:
        """As `attached`, of the limits below the root and as the operator wrote them."""
        place = {name: index for index, name in enumerate(self.names)}
        written = {limit.name: np.zeros(len(self.names)) for limit in self.limits}
        for limit in self.limits:
            written[limit.name][[place[name] for name in expand(limit.nodes)]] = limit.share
        return written

    @cached_property
    def above(self) -> Mapping[str, tuple[str, ...]]:
        """Of each limit itself and all above it, the root last; without the root where they go in a circle."""
        parents = {limit.name: limit.parent or self.root.name for limit in self.limits}
        return {name: tuple(self._chain(name, parents)) for name in (self.root.name, *parents)}

    def _chain(self, name: str, parents: Mapping[str, str]) -> Iterator[str]:
        seen = set[str]()
        while name in parents and name not in seen:
            seen.add(name)
            yield name
            name = parents[name]
        if name == self.root.name:
            yield name

    def _after(self, case: Contingency, usual: Mapping[str, Shares]) -> Iterator[Branch]:
        """A node that has lost one of its feeds draws all through the others, in their proportion; one that has lost all draws nothing."""
        lost = frozenset(limit.name for limit in self.limits if set(self.above[limit.name]) & set(case.lost))
        attached = self.attached()
        left = {name: shares for name, shares in attached.items() if name not in lost}
        before, after = sum(attached.values()), sum(left.values())
        grown = np.divide(before, after, out=np.zeros(len(self.names)), where=np.asarray(after) > 0)
        loads = self._loads({name: shares * grown for name, shares in left.items()}, lost)
        base_w, other = self._base_w(lost), {replaced.limit: replaced for replaced in case.replaced}
        for limit in (self.root, *self.limits):
            instead = other[limit.name].instead_of(limit) if limit.name in other else limit
            if limit.name not in lost and (limit.name in other or (loads[limit.name] > usual[limit.name] + 1e-9).any()):
                yield Branch(f"{limit.name}{AFTER}{case.name}", instead, loads[limit.name], base_w[limit.name], case.name)

    def _loads(self, attached: Mapping[str, Shares], lost: frozenset[str]) -> dict[str, Shares]:
        """The share of each node's draw that goes through each limit."""
        loads = {limit.name: np.zeros(len(self.names)) for limit in (self.root, *self.limits) if limit.name not in lost}
        for name, shares in attached.items():
            for above in self.above[name]:
                loads[above] += shares
        return loads

    def _base_w(self, lost: frozenset[str]) -> dict[str, float]:
        base_w = {limit.name: 0.0 for limit in (self.root, *self.limits)}
        for limit in (self.root, *self.limits):
            for above in self.above[limit.name] if limit.name not in lost else ():
                base_w[above] += limit.base_w
        return base_w


def tree_problems(topology: Topology) -> Iterator[str]:
    """What cannot be in a tree whose names are right, each with its key."""
    known = {limit.name: limit for limit in (topology.root, *topology.limits)}
    for number, limit in enumerate(topology.limits):
        at = f"limits[{number}]"
        if limit.parent and limit.parent not in known:
            yield f"{at}.parent: there is no limit {limit.parent!r}"
        elif topology.root.name not in topology.above[limit.name]:
            yield f"{at}.parent: {' under '.join(topology.above[limit.name])} go in a circle"
        elif limit.rating_w > (above := known[limit.parent or topology.root.name]).rating_w:
            yield f"{at}.rating_w: is {limit.rating_w:,.0f} W, above the {above.rating_w:,.0f} W of {above.name}, on which it hangs"
    yield from _share_problems(topology)
    for number, case in enumerate(topology.contingencies):
        if case.name in {earlier.name for earlier in topology.contingencies[:number]}:
            yield f"contingencies[{number}].name: {case.name!r} occurs twice"
        yield from (f"contingencies[{number}].{problem}" for problem in _case_problems(case, topology, known))


def _case_problems(case: Contingency, topology: Topology, known: Mapping[str, LimitConfig]) -> Iterator[str]:
    replaced = [one.limit for one in case.replaced]
    for key, names in (("lost", case.lost), ("replaced", replaced)):
        if strange := [name for name in names if name not in known]:
            yield f"{key}: there is no limit {', '.join(strange)}"
            return
    if topology.root.name in case.lost:
        yield f"lost: {topology.root.name} is all there is"
    for name in replaced:
        if replaced.count(name) > 1:
            yield f"replaced: {name} stands there {replaced.count(name)} times, should be once"
        elif set(topology.above[name]) & set(case.lost):
            yield f"replaced: {name} is lost in the same contingency"


def _share_problems(topology: Topology) -> Iterator[str]:
    sums = np.sum([*topology.written().values(), np.zeros(len(topology.names))], axis=0)
    for name, share in zip(topology.names, sums.tolist(), strict=True):
        if share and abs(share - 1.0) > TOLERANCE:
            yield f"limits: the shares of node {name} add up to {share:.2f}, should be 1: two feeds carry 0.5 each, three phases 0.333"
            return  # one tells enough


def name_problems(topology: Topology) -> Iterator[str]:
    """Names that are there twice, or that nothing has."""
    seen, nodes = {topology.root.name}, set(topology.names)
    for number, limit in enumerate(topology.limits):
        if not limit.name or AFTER in limit.name:
            yield f"limits[{number}].name: is {limit.name!r}, should be some text without {AFTER!r}, which makes a contingency's limit of it"
        if limit.name in seen:
            yield f"limits[{number}].name: {limit.name!r} occurs twice; the domain's own limit has its name"
        seen.add(limit.name)
        if strange := [name for name in expand(limit.nodes) if name not in nodes]:
            yield f"limits[{number}].nodes: {', '.join(strange[:5])} in no class"
