"""Dimming: who gives has its clocks locked lower, before any power limit is.

A lock takes from all that a card does, and most of that is bound by memory and hardly slower for it; a power limit that saves as much takes it
from prompts alone. So up to POLCA's locks (Patel et al., ASPLOS'24: at 0.787 of the highest clock a request takes at most 7 % longer, and the
high priority is never below 0.926) a lock is the cheaper way. In that range a card's draw falls by about the same share as its clock.

Within a priority a lock slows those least that wait for memory: at 0.787 a language model's tokens take 3 % longer, its prompts 25 %, and a prompt's lock
saves not even twice as much. What all together are to give is therefore taken whole from some of them, who draw like that first, and no longer from one that
begins to compute.

A lock acts in a fraction of a second and costs nothing to change, so it comes back soon and in proportion to the room: what is held longer than a
peak lasts costs every request, and is what makes a published policy of minutes dear.
"""

from typing import Final

import numpy as np

from gpuwarden.controller.policies.policy import Chance
from gpuwarden.controller.policies.view import RowView
from gpuwarden.controller.power.level import Flags, Watts

LOWEST: Final = 0.787
LOWEST_LAST: Final = 0.926  # of the priority that gives last, where there is more than one
HOLD_S: Final = 10.0  # from the newest dimming to the first step back: peaks come together, and a lock has a ledger line
WAIT_S: Final = (2.0, 6.0)  # between two steps
BACK_SHARE: Final = 0.5  # of the room, that one step gives back
COMPUTES: Final = 0.7  # of its default: a card that draws more computes, locked or not (Splitwise's measurements: tokens up to 0.66, locked prompts from 0.71)
ENOUGH: Final = 1.0 - 1e-9
PEAK_POWER: Final = 2.4  # a card's peak goes with about this power of its clock


def dim(view: RowView, clocks: Watts, cut_w: Watts, may_give: Flags) -> tuple[Watts, Watts]:
    """(share of its highest clock that each member may run at, what of the cut is left), the lowest priority first and its nodes all alike."""
    lowest, left_w = _lowest(view), np.maximum(cut_w, 0.0)
    for priority in range(int(view.priority.max()) + 1):
        if not (left_w > 0).any():
            break
        gives = may_give & view.lockable & ~view.training & (view.priority == priority) & (clocks > lowest)
        have_w, gives_w = _draws_w(view, gives), _draws_w(view, gives, 1.0 - lowest / clocks)
        part_w = np.minimum(left_w, gives_w)
        share = view.level.spread(part_w / np.maximum(have_w, 1.0))
        lower = np.where(view.level.spread(part_w < gives_w), np.maximum(lowest, clocks * (1.0 - share)), lowest)
        clocks = np.where(gives, lower, clocks)
        left_w = left_w - part_w
    return clocks, left_w


def brighten(view: RowView, now_s: float, next_s: Watts, clocks: Watts, dimmed: Flags, room_w: Watts, chance: Chance) -> tuple[Watts, Watts]:
    """(clocks, `next_s`) after this decision. `next_s`: when a limit's next step back is due; `dimmed`: limits under which a clock has just been lowered."""
    next_s = np.where(dimmed, now_s + HOLD_S, next_s)
    due = (now_s >= next_s) & (room_w > 0) & (view.level.tallies(clocks < 1.0) > 0)
    if due.any():
        clocks = _brighter(view, clocks, np.where(due, BACK_SHARE * room_w, 0.0))
        next_s = np.where(due, now_s + np.random.default_rng((*chance, 1)).uniform(*WAIT_S, len(next_s)), next_s)
    return clocks, next_s


def _brighter(view: RowView, clocks: Watts, room_w: Watts) -> Watts:
    """So much back, one a limit, for the highest priority that is dimmed, its nodes all alike."""
    dimmed = clocks < 1.0
    highest = np.maximum.reduceat(np.where(dimmed, view.priority, -1), view.level.starts)
    turn = dimmed & (view.priority == view.level.spread(highest))
    share = room_w / np.maximum(_draws_w(view, turn), 1.0)
    return np.where(turn, np.minimum(1.0, clocks * (1.0 + view.level.spread(share))), clocks)


def placed(view: RowView, clocks: Watts, before: Watts, chance: Chance) -> Watts:
    """Who is locked, and how far, so that each priority gives what it gives at these `clocks`: fully, one node after another, those first whom it slows least.

    Of these whoever is locked at `before` comes first, the others by chance.
    """
    lowest, locked = _lowest(view), np.where(view.obeyed, before, 1.0)
    draws_w = view.level.members.gain * np.fmax(view.power_w, 0.0) / locked
    turns = 2.0 * (view.power_w >= COMPUTES * view.level.members.default_w) + (locked >= 1.0) + np.random.default_rng((*chance, 2)).random(len(clocks))
    chosen = np.zeros(len(clocks), bool)
    for priority in range(int(view.priority.max()) + 1):
        dimmed = (view.priority == priority) & (clocks < 1.0)
        to_give_w = view.level.sums(np.where(dimmed, draws_w * (1.0 - clocks), 0.0))
        gives_w = np.where(dimmed, draws_w * (1.0 - lowest), 0.0)
        chosen |= dimmed & (view.level.sums_before(gives_w, np.where(dimmed, turns, np.inf)) < view.level.spread(to_give_w) * ENOUGH)
    return np.where(chosen, lowest, 1.0)


def dimmed_w(view: RowView, clocks: Watts, before: Watts) -> Watts:
    """By how much each limit's load falls when clocks go from `before` to these."""
    return _draws_w(view, clocks < before, 1.0 - clocks / before)


def _lowest(view: RowView) -> Watts:
    last = int(view.priority.max())
    return np.maximum(np.where((view.priority == last) & (last > 0), LOWEST_LAST, LOWEST), kept(view))


def kept(view: RowView) -> Watts:
    """The share of its highest clock at which each member peaks at what it is to be left."""
    share: Watts = (view.least_w / view.level.members.default_w) ** (1 / PEAK_POWER)
    return share


def _draws_w(view: RowView, nodes: Flags, share: Watts | float = 1.0) -> Watts:
    return view.level.sums(np.where(nodes, view.level.members.gain * np.fmax(view.power_w, 0.0) * share, 0.0))
