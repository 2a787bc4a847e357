"""Wishes to grants: the one place where power is handed out, common to all policies.

Cut first, raise only into what is certainly free. Every answer has been checked by `Row.carries`: if all messages were
lost from now on, nothing would trip. W of GPU limits, one entry a node.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gpuwarden.controller.power.row import Flags, Row, Seconds, Watts

STEP_W = 5.0  # a limit of one GPU is a multiple of this
RAISE_STEPS = 2  # smaller raises wait until they add up, or reach the default
BISECTIONS = 12


@dataclass(frozen=True, slots=True)
class Situation:
    """What the allocator must know of a row at one moment."""

    budget_w: float
    heat: float
    counted_w: Watts  # worst limit that each node may be obeying
    held_s: Seconds  # until when, from now; inf: for ever
    granted_w: Watts  # limit of our newest grant; the floor where there is none
    grantable: Flags  # nodes that a grant can reach and that are in auto
    fresh: Flags  # nodes whose limit was raised within the last second
    may_raise: bool  # live sessions to more than half of the nodes, and grants in force known
    lease_s: float  # lease and settling of a new grant


@dataclass(frozen=True, slots=True)
class Grants:
    """The limits to grant now. `holds` is false where even the floors of all that we reach would not be certain."""

    limits_w: Watts
    holds: bool


def allocate(row: Row, situation: Situation, wishes_w: Watts) -> Grants:
    """Floors where nothing else holds; otherwise the wishes, scaled down towards the floors as far as it takes."""
    wanted_w = _rounded(row, np.clip(wishes_w, row.floor_w, row.default_w))
    target_w = _largest(row, situation, row.floor_w, wanted_w, steady=True)
    if target_w is None:
        return Grants(row.floor_w.copy(), holds=False)
    cut_w = np.minimum(target_w, situation.granted_w)
    if not situation.may_raise:
        return Grants(cut_w, holds=True)
    raised_w = _largest(row, situation, cut_w, target_w, steady=False)
    if raised_w is None:  # until the cuts have arrived, nothing above the floor is certain
        return Grants(row.floor_w.copy(), holds=True)
    small = raised_w - cut_w < np.minimum(RAISE_STEPS * STEP_W * row.gpus, row.default_w - cut_w)
    return Grants(np.where(small, cut_w, raised_w), holds=True)


def _largest(row: Row, situation: Situation, low_w: Watts, high_w: Watts, steady: bool) -> Watts | None:
    """The highest point between `low_w` and `high_w` that holds, in whole steps; None if not even `low_w` does."""
    holds = _check(row, situation, steady)
    if holds(high_w):
        return high_w
    if not holds(low_w):
        return None
    good, bad = 0.0, 1.0
    for _ in range(BISECTIONS):
        share = (good + bad) / 2
        if holds(_between(row, low_w, high_w, share)):
            good = share
        else:
            bad = share
    return _between(row, low_w, high_w, good)


def _check(row: Row, situation: Situation, steady: bool) -> Callable[[Watts], bool]:
    """`steady`: once all cuts have arrived. Otherwise: now, when what is outstanding still counts."""
    unreached = ~situation.grantable
    old_w = np.where(unreached, situation.counted_w, 0.0) if steady else situation.counted_w
    held_s = np.where(unreached, situation.held_s, np.maximum(situation.held_s, situation.lease_s))

    def holds(limits_w: Watts) -> bool:
        counted_w = np.where(unreached, old_w, np.maximum(old_w, limits_w))
        fresh = situation.fresh | (situation.grantable & (limits_w > situation.granted_w))
        return row.carries(situation.budget_w, situation.heat, counted_w, held_s, fresh)

    return holds


def _between(row: Row, low_w: Watts, high_w: Watts, share: float) -> Watts:
    return np.maximum(low_w, _rounded(row, low_w + share * (high_w - low_w)))


def _rounded(row: Row, limits_w: Watts) -> Watts:
    """Down to whole steps a GPU, never below the floor."""
    step_w = STEP_W * row.gpus
    whole_w: Watts = np.floor(limits_w / step_w + 1e-9) * step_w
    return np.maximum(row.floor_w, whole_w)
