"""Domains with a tree of limits, and what truly happens to them: one node and 50 ms at a time, from the file's own words."""

import math
from dataclasses import dataclass

import numpy as np

from gpuwarden.controller.power.allocator import NOBODY, Situation
from gpuwarden.controller.power.domain import DomainConfig
from gpuwarden.controller.power.level import Watts
from gpuwarden.controller.power.limit import LimitConfig
from gpuwarden.controller.power.node_class import NodeClass
from gpuwarden.controller.power.topology import Branch, Contingency, ReplacedLimit
from gpuwarden.controller.power.tree import Tree
from gpuwarden.sim import thermal

LEASE_S, STEP_S, HORIZON_S = 6.0, 0.05, 10.0


def flat(nodes: int, rating_w: float) -> DomainConfig:
    return DomainConfig("row", rating_w, (NodeClass("h100", (f"n[1-{nodes}]",)),))


def two_feeds(tightness: float = 1.0) -> DomainConfig:
    """Twelve nodes in three racks; every rack hangs on two feeds. A feed may be lost; feed b's UPS may run on its battery."""
    racks = [
        LimitConfig(f"{feed}{rack}", 26e3 * tightness, parent=feed, nodes=(f"n[{4 * rack + 1}-{4 * rack + 4}]",), share=0.5)
        for feed in "ab" for rack in range(3)
    ]
    feeds = (
        LimitConfig("a", 60e3 * tightness, trip=((1.35, 13.4), (2.0, 3.7)), base_w=900.0),
        LimitConfig("b", 60e3 * tightness, trip=((1.35, 60.0),), curve="cold", base_w=400.0),
    )
    cases = (
        Contingency("a lost", lost=("a",), replaced=(ReplacedLimit("b", 80e3 * tightness),)),
        Contingency("b on battery", replaced=(ReplacedLimit("b", 55e3 * tightness, "timed", ((1.1, 60.0), (1.33, 10.0))),)),
    )
    return DomainConfig("row", 110e3 * tightness, (NodeClass("h100", ("n[1-12]",)),), dead_nodes=1, limits=(*feeds, *racks), contingencies=cases)


def situation(tree: Tree, budget_w: float, heat_share: float = 0.0, **changed: object) -> Situation:
    """Calm: everybody at the floor, in contact, and all limits cold."""
    nodes = len(tree.names)
    calm: dict[str, object] = {
        "ratings_w": [*(level.ratings_w for level in tree.levels[:-1]), np.array([budget_w])],
        "heats": [heat_share * level.breakers.unknown for level in tree.levels],
        "counted_w": tree.floor_w.copy(), "held_s": np.zeros(nodes), "granted_w": tree.floor_w.copy(),
        "grantable": np.ones(nodes, bool), "fresh": np.zeros(nodes, bool), "may_raise": np.ones(nodes, bool), "lease_s": LEASE_S,
        "unpaid": np.asarray(changed.get("fresh", np.zeros(nodes)), float),
    }
    return Situation(**{**calm, **changed})  # type: ignore[arg-type]  # a test's keywords


@dataclass(slots=True)
class _Element:
    """A breaker, battery or contract as its maker describes it."""

    limit: LimitConfig
    rating_w: float
    heat: float

    def survives(self, load_w: float, seconds: float) -> bool:
        ratio = load_w / self.rating_w
        if self.limit.kind == "thermal":
            self.heat = thermal.after(self.heat, ratio, seconds)
        elif self.limit.kind == "contract":
            self.heat = max(0.0, self.heat + (ratio - 1.0) * seconds)
        elif ratio > 1.0:  # what it bears at the next higher overload of its table
            bears_s = next((bears_s for overload, bears_s in self.limit.trip if ratio <= overload * (1 + 1e-9)), 0.0)
            self.heat += seconds / bears_s if bears_s else math.inf
        return self.heat < self.limit.trip_heat and ratio <= self.limit.ceiling * (1 + 1e-9)


def tripped(domain: DomainConfig, tree: Tree, at: Situation, limits_w: Watts) -> str | None:
    """All messages are lost now, and every node draws the worst: the first limit that this is too much for, in any listed case."""
    worst_w = np.maximum(at.counted_w, np.where(at.grantable, limits_w, 0.0))
    ends_s = np.where(at.grantable, np.maximum(at.held_s, at.lease_s), at.held_s)
    fresh = at.fresh | (at.grantable & (limits_w > at.granted_w))
    times_s = np.arange(0.0, HORIZON_S, STEP_S)[:, None]
    limit_w = np.where(times_s < ends_s, worst_w, tree.floor_w)  # (steps, nodes)
    over = np.where(times_s < 0.25, 1.5, np.where(times_s < 1.0, 1.1, 1.0))
    overshoot_w = np.where(fresh, (over - 1.0) * tree.members.gain * limit_w, 0.0)
    for branch in domain.topology().branches():
        number, place = tree.places[tree.limit_names.index(branch.name)]
        element = _Element(branch.limit, float(at.ratings_w[number][place]), float(at.heats[number][place]))
        loads_w = _loads_w(branch, tree, limit_w) + (branch.shares * overshoot_w).sum(axis=1)
        if not all(element.survives(load_w, STEP_S) for load_w in loads_w.tolist()):
            return branch.name
    return None


def _loads_w(branch: Branch, tree: Tree, limit_w: Watts) -> Watts:
    """One entry a step."""
    draws_w, default_w = (branch.shares * (tree.members.base_w + tree.members.gain * at_w) for at_w in (limit_w, tree.default_w))
    dead_w = np.sort(np.maximum(default_w - draws_w, 0.0), axis=1)[:, len(tree.names) - branch.dead_count :]
    return branch.other_w + draws_w.sum(axis=1) + dead_w.sum(axis=1)


def bound_names(tree: Tree, bound_by: "np.ndarray[tuple[int], np.dtype[np.intp]]") -> set[str]:
    return {tree.limit_names[number] for number in bound_by.tolist() if number != NOBODY}
