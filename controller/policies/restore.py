"""Giving power back: in small steps at random times, to random nodes of the highest priority that has caps.

Random waits keep rows that share a feed from rising in step (Thunderbolt, Li et al., OSDI'20, unthrottles after a random time too). Power that has
to be taken again soon after is given back ever later, so that caps change a bounded number of times an hour.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from gpuwarden.controller.policies.policy import Chance
from gpuwarden.controller.policies.shed import UNCAPPED
from gpuwarden.controller.policies.view import RowView
from gpuwarden.controller.power.level import Flags, Watts

HOLD_S: Final = 30.0  # from a cut to the first step back
LONGEST_HOLD_S: Final = 600.0
CALM_S: Final = 900.0  # without a cut, after which the next one counts as the first
WAIT_S: Final = (1.0, 10.0)  # between two steps
STEP_RATIO: Final = 0.01  # of the rating, that one step gives back
CAP_STEP: Final = 0.1  # of the default, by which a cap rises


@dataclass(frozen=True, eq=False)
class Waits:
    """One entry a limit. `gave`: something was given back since the newest cut."""

    shed_s: Watts
    hold_s: Watts
    next_s: Watts
    gave: Flags


def begin(limits: int) -> Waits:
    return Waits(np.full(limits, -np.inf), np.full(limits, HOLD_S), np.full(limits, -np.inf), np.zeros(limits, bool))


def step(
    waits: Waits, now_s: float, view: RowView, caps_w: Watts, lowered: Flags, room_w: Watts, chance: Chance
) -> tuple[Watts, Waits]:
    """(caps, waits) after this decision. `lowered`: limits under which one has just been lowered; `room_w`: what may be given back under each."""
    again = np.where(waits.gave, np.minimum(2 * waits.hold_s, LONGEST_HOLD_S), waits.hold_s)
    hold_s = np.where(lowered, np.where(now_s - waits.shed_s > CALM_S, HOLD_S, again), waits.hold_s)
    shed_s = np.where(lowered, now_s, waits.shed_s)
    next_s = np.where(lowered, now_s + hold_s, waits.next_s)
    gave = waits.gave & ~lowered
    due = (now_s >= next_s) & (view.level.tallies(caps_w < UNCAPPED) > 0)
    if due.any():
        taken = np.random.default_rng(chance)
        raised_w = _raised(view, caps_w, np.where(due, room_w, 0.0), taken.random(len(caps_w)))
        gave = gave | (view.level.tallies(raised_w > caps_w) > 0)
        next_s = np.where(due, now_s + taken.uniform(*WAIT_S, len(next_s)), next_s)
        caps_w = raised_w
    return caps_w, Waits(shed_s, hold_s, next_s, gave)


def _raised(view: RowView, caps_w: Watts, room_w: Watts, order: Watts) -> Watts:
    """Training nodes of the priority whose turn it is all by the same share of their default, since their ranks wait for each other; without such, a few nodes."""
    turn = _whose_turn(view, caps_w)
    together = turn & view.training
    alone = turn & ~view.level.spread(view.level.tallies(together) > 0)
    raised_w = np.where(together, _evenly(view, caps_w, room_w, together), caps_w)
    raised_w = np.where(alone, _few(view, caps_w, room_w, alone, order), raised_w)
    return np.where(raised_w >= view.level.members.default_w, UNCAPPED, raised_w)


def _whose_turn(view: RowView, caps_w: Watts) -> Flags:
    """Under each limit the capped nodes of the highest priority that has any."""
    capped = caps_w < UNCAPPED
    highest = np.maximum.reduceat(np.where(capped, view.priority, -1), view.level.starts)
    turn: Flags = capped & (view.priority == view.level.spread(highest))
    return turn


def _evenly(view: RowView, caps_w: Watts, room_w: Watts, nodes: Flags) -> Watts:
    default_w = view.level.members.default_w
    whole_w = view.level.sums(np.where(nodes, view.level.members.gain * default_w, 0.0))
    share = np.clip(np.minimum(STEP_RATIO * view.ratings_w, room_w), 0.0, None) / np.maximum(whole_w, 1.0)
    return caps_w + view.level.spread(share) * default_w


def _few(view: RowView, caps_w: Watts, room_w: Watts, nodes: Flags, order: Watts) -> Watts:
    """The first in this `order` that a step has room for: at least one, if there is room for it at all."""
    level = view.level
    raised_w = np.minimum(caps_w + CAP_STEP * level.members.default_w, level.members.default_w)
    costs_w = np.where(nodes, level.members.gain * np.maximum(raised_w - caps_w, 0.0), 0.0)
    before_w = level.sums_before(costs_w, np.where(nodes, order, 1.0))
    within = before_w + costs_w <= level.spread(STEP_RATIO * view.ratings_w)
    fits = before_w + costs_w <= level.spread(room_w)
    return np.where(nodes & fits & (within | (before_w == 0)), raised_w, caps_w)

