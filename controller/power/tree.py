"""A power domain as arrays: its nodes, and all limits above them in levels, so that thousands are reckoned at once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from gpuwarden.controller.power.hostlist import expand
from gpuwarden.controller.power.level import Level, Members, Places, Seconds, Watts, joined, level_of
from gpuwarden.controller.power.node_class import NodeClass
from gpuwarden.controller.power.topology import Branch, Topology

S = TypeVar("S", bound=np.generic)


@dataclass(frozen=True, eq=False)
class Tree:
    """Arrays have one entry a node, in the configured order. The domain's own limit is the last level, and alone there."""

    names: tuple[str, ...]
    gpus: NDArray[np.int64]
    settle_s: Seconds
    members: Members
    levels: tuple[Level, ...]

    @property
    def root(self) -> Level:
        return self.levels[-1]

    @property
    def floor_w(self) -> Watts:
        return self.members.floor_w

    @property
    def default_w(self) -> Watts:
        return self.members.default_w

    @cached_property
    def whole(self) -> Level:
        """All limits in one, in the order of `limit_names`."""
        return joined(self.levels)

    def apart(self, of_limits: NDArray[S]) -> list[NDArray[S]]:
        """An array for each level, of one that has an entry for each limit."""
        ends = accumulate(len(level.names) for level in self.levels)
        return [of_limits[end - len(level.names) : end] for level, end in zip(self.levels, ends, strict=True)]

    @cached_property
    def slowest_s(self) -> float:
        """The longest that any card takes to settle."""
        return float(self.settle_s.max())

    @cached_property
    def limit_names(self) -> tuple[str, ...]:
        """Of every limit, level after level."""
        return tuple(name for level in self.levels for name in level.names)

    @cached_property
    def places(self) -> tuple[tuple[int, int], ...]:
        """(level, place in it) of every limit, in the order of `limit_names`."""
        return tuple((number, place) for number, level in enumerate(self.levels) for place in range(len(level.names)))

    @cached_property
    def cases(self) -> tuple[Places, Places]:
        """Limits with a heat as they are after a contingency, and for each the same as it usually is: places in `limit_names`."""
        elements, warms = list(zip(self.whole.elements, self.whole.cases, strict=True)), np.isfinite(self.whole.breakers.trip_heat).tolist()
        usual = {element: place for place, (element, case) in enumerate(elements) if not case and warms[place]}
        after = [(place, usual[element]) for place, (element, case) in enumerate(elements) if case and element in usual and warms[place]]
        return np.array([place for place, _ in after], np.intp), np.array([place for _, place in after], np.intp)

    def carrying(self, more_w: Sequence[Watts]) -> "Tree":
        """The same with so much more on each limit that no node draws: one array a level."""
        levels = tuple(replace(level, other_w=level.other_w + on_level_w) for level, on_level_w in zip(self.levels, more_w, strict=True))
        return replace(self, levels=levels)

    def drawing(self, gain: Watts) -> "Tree":
        """The same with so many watts drawn at worst for one of limit, one entry a node."""
        ratio, levels = gain / self.members.gain, []
        for level in self.levels:
            members = replace(level.members, gain=level.members.gain * ratio[level.nodes])
            levels.append(replace(level, members=members))
        return replace(self, members=replace(self.members, gain=gain), levels=tuple(levels))

    def under(self, limit: int) -> Places:
        """The nodes under a limit, by its place in `limit_names`."""
        number, place = self.places[limit]
        return self.levels[number].under(place)

    def draws_w(self, limits_w: Watts) -> Watts:
        """Worst steady draw of each node."""
        return self.members.base_w + self.members.gain * limits_w

    def total_w(self, limits_w: Watts) -> float:
        """Worst steady draw of the domain, its dead nodes at the driver's default."""
        return float(self.root.totals_w(limits_w)[0])


def tree_of(classes: Sequence[NodeClass], topology: Topology) -> Tree:
    """The nodes of `classes`, in this order, are those of `topology`."""
    rows: list[tuple[float, ...]] = []
    for c in classes:
        one = (c.gpus, c.base_w, c.slope * (1 + c.gain_error), c.gpus * c.floor_w, c.gpus * c.default_w, c.settle_s)
        rows += [one] * len(expand(c.nodes))
    gpus, base_w, gain, floor_w, default_w, settle_s = np.array(rows, np.float64).T
    nodes = Members(base_w, gain, floor_w, default_w)
    *below, root = topology.branches()
    levels = (*(level_of(group, nodes) for group in _apart(below, len(rows))), level_of([root], nodes))
    return Tree(topology.names, gpus.astype(np.int64), settle_s, nodes, levels)


def _apart(branches: Sequence[Branch], count: int) -> Iterator[list[Branch]]:
    """Groups whose branches share no node of the `count`, in the given order as far as that goes."""
    groups: list[tuple[NDArray[np.bool_], list[Branch]]] = []
    for branch in branches:
        carried = branch.shares > 0
        taken, group = next((one for one in groups if not (one[0] & carried).any()), (np.zeros(count, bool), []))
        if not group:
            groups.append((taken, group))
        taken |= carried
        group.append(branch)
    return (group for _, group in groups)
