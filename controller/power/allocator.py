"""Wishes to grants: the one place where power is handed out, common to all policies.

Cut first, raise only into what is certainly free. Every answer has been checked by `Level.carries` of every limit: if all messages
were lost from now on, nothing would trip. Draws only grow with limits, so what one limit lowers does no other any harm, and each is
asked once. W of GPU limits, one entry a node.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gpuwarden.controller.power.level import Flags, Level, Places, Seconds, Watts
from gpuwarden.controller.power.tree import Tree

STEP_W = 5.0  # a limit of one GPU is a multiple of this
RAISE_STEPS = 2  # smaller raises wait until they add up, or reach the default
BISECTIONS = 8  # to a 256th of the way from floor to default: finer than the steps of a limit
NOBODY = -1


@dataclass(frozen=True, slots=True)
class Situation:
    """What the allocator must know of a domain at one moment. `ratings_w` and `heats`: an array for each level, one entry a limit."""

    ratings_w: Sequence[Watts]
    heats: Sequence[NDArray[np.float64]]
    counted_w: Watts  # worst limit that each node may be obeying
    held_s: Seconds  # until when, from now; inf: for ever
    granted_w: Watts  # limit of our newest grant; the floor where there is none
    grantable: Flags  # nodes that a grant can reach and that are in auto
    fresh: Flags  # nodes whose limit was raised within the last second
    may_raise: Flags  # under no limit without live sessions to more than half of its nodes, and grants in force known
    lease_s: float  # lease and settling of a new grant


@dataclass(slots=True)
class Grants:
    """The limits to grant now. `bound_by`: the limit, as a place in `Tree.limit_names`, that left each node less than was wished.

    `failing`: those for which even the floors of all that we reach would not be certain.
    """

    limits_w: Watts
    bound_by: Places
    failing: list[int]


def allocate(tree: Tree, situation: Situation, wishes_w: Watts, bound_by: Places | None = None) -> Grants:
    """The wishes, scaled down towards the floors under each limit as far as it takes; floors where nothing else holds.

    `bound_by`: the limits that the wishes themselves were held back by.
    """
    wanted_w = _rounded(np.clip(wishes_w, tree.floor_w, tree.default_w), tree.floor_w, _steps_w(tree))
    wanted_w = np.where(wishes_w >= tree.default_w, tree.default_w, wanted_w)  # which need not be a whole step
    grants = Grants(wanted_w, np.full(len(wanted_w), NOBODY) if bound_by is None else bound_by, [])
    grants.failing = _lower(tree, situation, grants, tree.floor_w, steady=True)
    cut_w = np.minimum(grants.limits_w, situation.granted_w)
    grants.limits_w = np.where(situation.may_raise, grants.limits_w, cut_w)
    _lower(tree, situation, grants, cut_w, steady=False)  # where the cuts have yet to arrive, nothing above the floor may be certain
    small = grants.limits_w - cut_w < np.minimum(RAISE_STEPS * _steps_w(tree), tree.default_w - cut_w)
    grants.limits_w = np.where(small, np.minimum(cut_w, grants.limits_w), grants.limits_w)
    return grants


def _lower(tree: Tree, situation: Situation, grants: Grants, low_w: Watts, steady: bool) -> list[int]:
    """Lowers the grants to what each limit holds: not below `low_w`, or to the floor where not even that holds; those limits."""
    failing, first = list[int](), 0
    for level, ratings_w, heat in zip(tree.levels, situation.ratings_w, situation.heats, strict=True):
        question = _question(level, ratings_w, heat, situation, steady)
        holds = question.holds(grants.limits_w[level.nodes])
        if not holds.all():
            part = _question(level.only(~holds), ratings_w[~holds], heat[~holds], situation, steady)
            numbers = first + np.flatnonzero(~holds)
            low_holds = _fit(part, grants, low_w, _steps_w(tree), numbers)
            failing += numbers[~low_holds].tolist()
        first += len(level.names)
    return failing


def _fit(question: "_Question", grants: Grants, low_w: Watts, step_w: Watts, numbers: Places) -> Flags:
    """Lowers the grants of all nodes under these limits, each to the highest point that holds, in whole steps. Whether low held."""
    level = question.level
    high_w = grants.limits_w[level.nodes]
    low_w, step_w = np.minimum(low_w[level.nodes], high_w), step_w[level.nodes]
    share, part = np.zeros(len(level.names)), 0.5
    for _ in range(BISECTIONS):
        holds = question.holds(_between(low_w, high_w, level.spread(share + part), step_w))
        share, part = share + part * holds, part / 2
    low_holds = question.holds(low_w)
    fitted_w = _between(low_w, high_w, level.spread(share), step_w)
    fitted_w = np.where(level.spread(low_holds), fitted_w, level.members.floor_w)
    lowered = fitted_w < high_w
    grants.limits_w[level.nodes] = fitted_w
    grants.bound_by[level.nodes[lowered]] = level.spread(numbers)[lowered]
    return low_holds


@dataclass(frozen=True, slots=True)
class _Question:
    """What must hold under some limits, with what is outstanding there."""

    level: Level
    ratings_w: Watts
    heat: NDArray[np.float64]
    reached: Flags
    old_w: Watts
    held_s: Seconds
    fresh: Flags
    granted_w: Watts

    def holds(self, limits_w: Watts) -> Flags:
        counted_w = np.where(self.reached, np.maximum(self.old_w, limits_w), self.old_w)
        fresh = self.fresh | (self.reached & (limits_w > self.granted_w))
        return self.level.carries(self.ratings_w, self.heat, counted_w, self.held_s, fresh)


def _question(level: Level, ratings_w: Watts, heat: NDArray[np.float64], situation: Situation, steady: bool) -> _Question:
    """`steady`: once all cuts have arrived. Otherwise: now, when what is outstanding still counts."""
    nodes = level.nodes
    reached, counted_w, held_s = situation.grantable[nodes], situation.counted_w[nodes], situation.held_s[nodes]
    old_w = np.where(reached, 0.0, counted_w) if steady else counted_w
    held_s = np.where(reached, np.maximum(held_s, situation.lease_s), held_s)
    return _Question(level, ratings_w, heat, reached, old_w, held_s, situation.fresh[nodes], situation.granted_w[nodes])


def _steps_w(tree: Tree) -> Watts:
    return STEP_W * tree.gpus.astype(np.float64)


def _between(low_w: Watts, high_w: Watts, shares: Watts, step_w: Watts) -> Watts:
    return _rounded(low_w + shares * (high_w - low_w), low_w, step_w)


def _rounded(limits_w: Watts, low_w: Watts, step_w: Watts) -> Watts:
    """Down to whole steps, never below `low_w`."""
    return np.maximum(low_w, np.floor(limits_w / step_w + 1e-9) * step_w)
