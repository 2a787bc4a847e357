"""Raises a few nodes at a time, where all at once would not hold.

A card may overshoot the limit that it has just been raised to, and the allocator counts that for every node raised: where limits add up to
more than the rating there is no room for all of them to overshoot together. Whoever is left out is raised a second later.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from gpuwarden.controller.power.allocator import RAISE_STEPS, STEP_W
from gpuwarden.controller.power.level import SPIKE_RATIO, Flags, Level, Watts
from gpuwarden.controller.power.tree import Tree

OVER: Final = SPIKE_RATIO - 1
CLOSE_W: Final = 1.0  # a limit with more room to spare is passed over: sums are rounded by far less


def staggered(tree: Tree, ratings_w: Sequence[Watts], granted_w: Watts, fresh: Flags, wishes_w: Watts, order: Watts) -> Watts:
    """The wishes, but less for nodes that there is no room to raise as far yet. `fresh`: raised within the last second; `order`: lowest first.

    `ratings_w` has one array a level; the others one entry a node, W of GPU limits.
    """
    step_w = RAISE_STEPS * STEP_W * tree.gpus
    raises = wishes_w - granted_w >= np.minimum(step_w, np.maximum(tree.default_w - granted_w, 1.0))  # the last step to the default is one as well
    if not raises.any():
        return wishes_w
    may_w, whole = wishes_w.copy(), tree.whole
    room_w = _room_w(whole, np.concatenate(ratings_w), granted_w[whole.nodes], fresh[whole.nodes])
    costs_w = _costs_w(whole, granted_w[whole.nodes], fresh[whole.nodes], np.where(raises, wishes_w, granted_w)[whole.nodes])
    short = whole.sums(costs_w) > room_w - CLOSE_W  # what one limit lowers costs less under all others
    for level, left_w, some in zip(tree.levels, tree.apart(room_w), tree.apart(short), strict=True):
        if some.any():
            of = level.nodes
            raised_w = np.where(raises[of], may_w[of], granted_w[of])
            may_w[of] = np.minimum(may_w[of], _fitting_w(level, left_w, granted_w[of], fresh[of], raised_w, order[of]))
    may_w = np.where((may_w - granted_w >= step_w) | (may_w >= tree.default_w), may_w, granted_w)
    return np.where(raises, may_w, wishes_w)


def _room_w(level: Level, ratings_w: Watts, granted_w: Watts, fresh: Flags) -> Watts:
    """Of each limit, up to its ceiling."""
    now_w = level.totals_w(granted_w) + level.dead_spike_w + OVER * level.sums(np.where(fresh, level.members.gain * granted_w, 0.0))
    return level.breakers.ceiling_ratio * ratings_w - now_w


def _costs_w(level: Level, granted_w: Watts, fresh: Flags, wishes_w: Watts) -> Watts:
    """What each node's raise takes of that; 0 where there is none."""
    costs_w = level.members.gain * (_more_w(granted_w, fresh) + (1.0 + OVER) * (wishes_w - granted_w))
    return np.where(wishes_w > granted_w, costs_w, 0.0)


def _more_w(granted_w: Watts, fresh: Flags) -> Watts:
    """By which a node overshoots as soon as it is raised at all."""
    return np.where(fresh, 0.0, OVER * granted_w)


def _fitting_w(level: Level, room_w: Watts, granted_w: Watts, fresh: Flags, wishes_w: Watts, order: Watts) -> Watts:
    """How far each node may be raised: with what those before it take, and its own overshoot, the ceiling is not passed."""
    raised = wishes_w > granted_w
    before_w = level.sums_before(_costs_w(level, granted_w, fresh, wishes_w), np.where(raised, order, np.inf))
    left_w = (level.spread(room_w) - before_w) / level.members.gain
    return np.where(raised, granted_w + np.maximum(left_w - _more_w(granted_w, fresh), 0.0) / (1.0 + OVER), np.inf)
