"""Fair share above the floor: everyone what they need while it lasts, and of what is scarce everyone the same.

Water-filling twice. First what nodes need, level by level (max-min fairness: Bertsekas and Gallager, Data Networks,
section 6.5.2), then what is left over in equal parts, so that a sudden rise meets no cap without need. A node at its
limit shows only that it wants more, so its need counts as the driver's default. The limits' own arithmetic is used, so
that in steady state the worst draw of all wishes, dead nodes included, is at most the rating.
"""

from collections.abc import Callable

import numpy as np

from gpuwarden.controller.policies.view import RowView
from gpuwarden.controller.power.level import FEW, Flags, Watts

AT_LIMIT_RATIO = 0.95  # drawing this share of its limit, a node is held back by it
RISE_FACTOR = 4.0  # a sensor that averages 25 ms of 100 has seen a quarter of a step that it catches beginning
MARGIN_RATIO = 1.25  # a node that is not held back may rise by this much before it is
NEED_STEP_RATIO = 0.05  # needs go up and down in steps of this share of the default, so that limits do not follow noise
FINEST = 10  # bits: a 1024th of the default, finer than the step of a limit
AT_ONCE = 5  # bits that are found at once where few nodes are concerned


def wishes(view: RowView) -> Watts:
    """W of GPU limits, one entry a member, from floor to `most_w`.

    Both at once: where needs do not fit, nothing is left over, since the next step of them would be at most what a step of what is left over is.
    """
    nodes = view.level.members
    need_w = np.clip(_needs(view), nodes.floor_w, view.most_w)
    met = view.level.spread(view.level.totals_w(need_w) <= view.ratings_w)
    from_w, to_w = np.where(met, need_w, 0.0), np.where(met, view.most_w, need_w)
    return _highest(view, lambda share: np.minimum(to_w, np.maximum(from_w + share * nodes.default_w, nodes.floor_w)))


def _needs(view: RowView) -> Watts:
    """What each node would draw if nothing held it back; the default where that is unknown."""
    default_w = view.level.members.default_w
    held_back = view.power_w >= AT_LIMIT_RATIO * view.limit_w
    want_w = view.drawn_w + RISE_FACTOR * view.rise_w
    step_w = NEED_STEP_RATIO * default_w
    need_w = np.where(held_back, default_w, np.ceil(want_w * MARGIN_RATIO / step_w) * step_w)
    return np.where(np.isnan(need_w), default_w, need_w)


def _highest(view: RowView, at: Callable[[Watts], Watts]) -> Watts:
    """`at(share)` for the highest share of each limit, from 0 to 1, whose worst draw fits its rating. More never draws less."""

    def fits(shares: Watts) -> Flags:
        return view.level.totals_w(at(view.level.spread(shares))) <= view.ratings_w

    share, bits = np.zeros(len(view.ratings_w)), AT_ONCE if len(view.most_w) <= FEW else 1
    steps = np.arange(1.0, 2.0**bits + 1)[:, None]
    first = fits(steps / 2.0**bits + share)
    whole = first[-1]
    for found in () if whole.all() else range(bits, FINEST + 1, bits):
        fit = first[:-1] if found == bits else fits(share + steps[:-1] / 2.0**found)
        share = share + fit.sum(axis=0) / 2.0**found
    return at(view.level.spread(np.where(whole, 1.0, share)))
