"""Wishes to grants: the one place where power is handed out, common to all policies.

Cut first, raise only into what is certainly free. Every answer has been checked by `Level.carries` of every limit: if all messages
were lost from now on, nothing would trip. Draws only grow with limits, so what one limit lowers does no other any harm, and each is
asked once. W of GPU limits, one entry a node.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gpuwarden.controller.power.breaker import SPARE_SHARE
from gpuwarden.controller.power.level import FEW, Flags, Level, Places, Seconds, Watts
from gpuwarden.controller.power.tree import Tree

STEP_W = 5.0  # a limit of one GPU is a multiple of this
RAISE_STEPS = 2  # smaller raises wait until they add up, or reach the default
FINEST = 8  # bits: a 256th of the way from floor to default, finer than the steps of a limit
AT_ONCE = 4  # bits that are found at once where few nodes are concerned
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
    unpaid: Watts  # share of their overshoot that the heats do not have yet
    may_raise: Flags  # under no limit without live sessions to more than half of its nodes, and grants in force known
    lease_s: float  # lease and settling of a new grant
    resuming: bool = False  # what is granted is what a controller found that has just started, which it need not be able to give again


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
    whole, failing, first = tree.whole, list[int](), 0
    of_all = _question(whole, np.concatenate(situation.ratings_w), np.concatenate(situation.heats), situation, steady)
    holds = of_all.holds(grants.limits_w[whole.nodes])  # and does so after whatever others lower
    if holds.all():
        return failing
    for level, ratings_w, heat, of_level in zip(tree.levels, situation.ratings_w, situation.heats, tree.apart(~holds), strict=True):
        if np.count_nonzero(of_level):
            question = _question(level.only(of_level), ratings_w[of_level], heat[of_level], situation, steady)
            failing += _fit(question, grants, low_w, _steps_w(tree), first + of_level.nonzero()[0])
        first += len(level.names)
    return failing


def _fit(question: "_Question", grants: Grants, low_w: Watts, step_w: Watts, numbers: Places) -> list[int]:
    """Lowers the grants of the nodes under each of these limits that does not hold, to the highest point that does, in whole steps.

    Those of these `numbers` for which not even low holds.
    """
    level = question.level
    high_w = grants.limits_w[level.nodes]
    low_w, step_w = np.minimum(low_w[level.nodes], high_w), step_w[level.nodes]

    def points_w(shares: Watts) -> Watts:
        return _between(low_w, high_w, level.spread(shares), step_w)

    share, bits = np.zeros(len(level.names)), AT_ONCE if len(level.nodes) <= FEW else 1
    steps = np.arange(1.0, 2.0**bits)[:, None] + share
    first = question.holds(np.concatenate([low_w[None], high_w[None], points_w(steps / 2.0**bits)]))
    low_holds, high_holds = first[0], first[1]
    for found in () if (high_holds | ~low_holds).all() else range(bits, FINEST + 1, bits):
        holds = first[2:] if found == bits else question.holds(points_w(share + steps / 2.0**found))
        share = share + np.logical_and.accumulate(holds).sum(axis=0) / 2.0**found
    fitted_w = np.where(level.spread(low_holds), points_w(share), level.members.floor_w)
    fitted_w = np.where(level.spread(high_holds), high_w, fitted_w)
    lowered = fitted_w < high_w
    grants.limits_w[level.nodes] = fitted_w
    grants.bound_by[level.nodes[lowered]] = level.spread(numbers)[lowered]
    wrong = ~(low_holds | high_holds)
    if wrong.any():
        wrong &= ~replace(question, spare=0.0).holds(low_w)
    failing: list[int] = numbers[wrong].tolist()
    return failing


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
    unpaid: Watts
    granted_w: Watts
    spare: float

    def holds(self, limits_w: Watts) -> Flags:
        counted_w = np.where(self.reached, np.maximum(self.old_w, limits_w), self.old_w)
        raised = self.reached & (limits_w > self.granted_w)
        return self.level.carries(self.ratings_w, self.heat, counted_w, self.held_s, self.fresh | raised, np.where(raised, 1.0, self.unpaid), self.spare)


def _question(level: Level, ratings_w: Watts, heat: NDArray[np.float64], situation: Situation, steady: bool) -> _Question:
    """`steady`: once all cuts have arrived, and so that it can be given again after a restart, by who knows the heat less exactly. Otherwise: now, when
    what is outstanding still counts."""
    nodes = level.nodes
    reached, counted_w, held_s = situation.grantable[nodes], situation.counted_w[nodes], situation.held_s[nodes]
    old_w = np.where(reached, 0.0, counted_w) if steady else counted_w
    held_s = np.where(reached, np.maximum(held_s, situation.lease_s), held_s)
    spare = SPARE_SHARE if steady and not situation.resuming else 0.0
    return _Question(level, ratings_w, heat, reached, old_w, held_s, situation.fresh[nodes], situation.unpaid[nodes], situation.granted_w[nodes], spare)


def _steps_w(tree: Tree) -> Watts:
    return STEP_W * tree.gpus.astype(np.float64)


def _between(low_w: Watts, high_w: Watts, shares: Watts, step_w: Watts) -> Watts:
    return _rounded(low_w + shares * (high_w - low_w), low_w, step_w)


def _rounded(limits_w: Watts, low_w: Watts, step_w: Watts) -> Watts:
    """Down to whole steps, never below `low_w`."""
    return np.maximum(low_w, np.floor(limits_w / step_w + 1e-9) * step_w)
