"""Who gives how much when a limit carries too much: the lowest priority first, and in it those who draw most, down to what they keep."""

from typing import Final

import numpy as np

from gpuwarden.controller.policies.view import RowView
from gpuwarden.controller.power.level import FEW, Flags, Watts

FINEST: Final = 12  # bits: a 4096th of the default, finer than the step of a limit
AT_ONCE: Final = 4  # bits that are found at once where few nodes are concerned
ROUNDS: Final = 3  # a dead node counts at the default however low the others come, so a first cut falls short by its part
UNCAPPED: Final = np.inf


def shed(view: RowView, from_w: Watts, cut_w: Watts, may_give: Flags) -> Watts:
    """W of GPU limits, `UNCAPPED` where nothing is asked of a priority: what each limit carries falls by `cut_w` (one a limit), or by all
    that there is above the least of those who `may_give`. `from_w`: what they draw, or may draw; NaN gives nothing.

    In a priority all come down to one level, a share of their default, which those below it may not rise above either: high-bucket-first
    (Dynamo, Wu et al., ISCA'16) with buckets as small as a limit's step.
    """
    caps_w, left_w = np.full(len(from_w), UNCAPPED), np.maximum(cut_w, 0.0)
    for priority in range(int(view.priority.max()) + 1):
        if not (left_w > 0).any():
            break
        gives = may_give & (view.priority == priority)
        if not gives.any():
            continue
        part_w = np.minimum(left_w, _given_w(view, from_w, gives, view.least_w))
        level_w = _level_w(view, from_w, gives, part_w)
        caps_w = np.where(gives & view.level.spread(part_w > 0), level_w, caps_w)
        left_w = left_w - part_w
    return caps_w


def fitted(view: RowView, limits_w: Watts, most_w: Watts) -> Watts:
    """These limits, lowered in the same order until each limit's worst draw is at most `most_w` (one a limit), as far as floors let it."""
    for _ in range(ROUNDS):
        cut_w = view.level.totals_w(limits_w) - most_w
        if not (cut_w > 0).any():
            break
        limits_w = np.minimum(limits_w, shed(view, limits_w, cut_w, np.ones(len(limits_w), bool)))
    return limits_w


def pending_w(view: RowView, caps_w: Watts, since_s: Watts) -> Watts:
    """By how much each limit's load will yet fall once cards obey these caps, the newest of which were wished `since_s` ago.

    What has not come after the lag will not come either: then the load counts as it is measured. Outside auto it counts as it would be.
    """
    to_come_w = _given_w(view, view.power_w, np.ones(len(caps_w), bool), np.maximum(caps_w, view.least_w))
    return np.where((since_s < view.lag_s) | (not view.obeyed), to_come_w, 0.0)


def _given_w(view: RowView, from_w: Watts, gives: Flags, to_w: Watts) -> Watts:
    """By how much each limit's load falls when those come down to `to_w`."""
    above_w = np.where(gives, np.fmax(from_w - to_w, 0.0), 0.0)
    return view.level.sums(view.level.members.gain * above_w)


def _level_w(view: RowView, from_w: Watts, gives: Flags, part_w: Watts) -> Watts:
    """The highest level that gives as much, one entry a member."""
    nodes = view.level.members

    def at(share: Watts) -> Watts:
        return np.maximum(view.level.spread(share) * nodes.default_w, view.least_w)

    share, bits = np.zeros(len(part_w)), AT_ONCE if len(from_w) <= FEW else 1
    for found in range(bits, FINEST + 1, bits):
        enough = _given_w(view, from_w, gives, at(share + np.arange(1.0, 2.0**bits)[:, None] / 2.0**found)) >= part_w
        share = share + enough.sum(axis=0) / 2.0**found
    return at(share)
