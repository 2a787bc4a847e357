"""Raises a few nodes at a time, where all at once would not hold.

A card may overshoot the limit that it has just been raised to, and the allocator counts that for every node raised: where limits add up to
more than the rating there is no room for all of them to overshoot together. Whoever is left out is raised a second later.
"""

from collections.abc import Sequence

import numpy as np

from gpuwarden.controller.power.allocator import RAISE_STEPS, STEP_W
from gpuwarden.controller.power.level import SPIKE_RATIO, Flags, Level, Watts
from gpuwarden.controller.power.tree import Tree


def staggered(tree: Tree, ratings_w: Sequence[Watts], granted_w: Watts, fresh: Flags, wishes_w: Watts, order: Watts) -> Watts:
    """The wishes, but less for nodes that there is no room to raise as far yet. `fresh`: raised within the last second; `order`: lowest first.

    `ratings_w` has one array a level; the others one entry a node, W of GPU limits.
    """
    step_w = RAISE_STEPS * STEP_W * tree.gpus
    raises = wishes_w - granted_w >= np.minimum(step_w, np.maximum(tree.default_w - granted_w, 1.0))  # the last step to the default is one as well
    if not raises.any():
        return wishes_w
    may_w = wishes_w.copy()
    for level, ratings in zip(tree.levels, ratings_w, strict=True):
        of = level.nodes
        may_w[of] = np.minimum(may_w[of], _fitting_w(level, ratings, granted_w[of], fresh[of], np.where(raises[of], may_w[of], granted_w[of]), order[of]))
    may_w = np.where((may_w - granted_w >= step_w) | (may_w >= tree.default_w), may_w, granted_w)
    return np.where(raises, may_w, wishes_w)


def _fitting_w(level: Level, ratings_w: Watts, granted_w: Watts, fresh: Flags, wishes_w: Watts, order: Watts) -> Watts:
    """How far each node may be raised: with what those before it take, and its own overshoot, the ceiling is not passed."""
    gain, over, raised = level.members.gain, SPIKE_RATIO - 1, wishes_w > granted_w
    now_w = level.totals_w(granted_w) + level.dead_spike_w + over * level.sums(np.where(fresh, gain * granted_w, 0.0))
    more_w = np.where(fresh, 0.0, over * granted_w)  # by which a node overshoots as soon as it is raised at all
    costs_w = np.where(raised, gain * (more_w + (1.0 + over) * (wishes_w - granted_w)), 0.0)
    before_w = level.sums_before(costs_w, np.where(raised, order, np.inf))
    left_w = (level.spread(level.breakers.ceiling_ratio * ratings_w - now_w) - before_w) / gain
    return np.where(raised, granted_w + np.maximum(left_w - more_w, 0.0) / (1.0 + over), np.inf)
