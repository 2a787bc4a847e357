"""Headroom: limits may add up to more than is carried, by as much as loads have been seen to stay apart; ours.

Thresholds of each limit come from the rises that were observed within the measured lag (`rises`), T2 = 1 - r(L) - safety and
T1 = T2 - the rise expected while a cut takes effect. Above T1 all priorities but the last give, the lowest first, above T2 the last as
well. What was taken is given back in small random steps, later each time that it had to be taken again. Training nodes count at their
limits, since their peaks come together, and their rises are slowed down to a ramp (`ramp`). A power limit is the ceiling of who gives, a
clock lock keeps the peaks near it that are shorter than the limit's answer.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from gpuwarden.controller.policies import ramp, restore, rises
from gpuwarden.controller.policies.fair_share import AT_LIMIT_RATIO
from gpuwarden.controller.policies.policy import Chance, Policy
from gpuwarden.controller.policies.ramp import Ramp
from gpuwarden.controller.policies.restore import Waits
from gpuwarden.controller.policies.rises import Rises
from gpuwarden.controller.policies.shed import UNCAPPED, fitted, pending_w, shed
from gpuwarden.controller.policies.view import RowView
from gpuwarden.controller.power.level import Flags, Watts

SAFETY: Final = 0.01  # the sensors' errors are in the load already
EXPECTED_SHARE: Final = 0.99  # of the time, in which the rise while a cut takes effect was not passed
LOWEST: Final = (0.75, 0.80)  # T1, T2: a rise beyond them is over the rating for one lag, which the allocator knows to hold or does not let be
HYSTERESIS: Final = 0.02  # of the rating: noise, and more than what one step gives back


CLOCK_POWER: Final = 2.4  # a card's peak goes with about this power of its clock
LOWEST_CLOCK: Final = 0.787  # POLCA's hardest for the low priority; what a lower one saves costs more than a power limit does


@dataclass(frozen=True, eq=False)
class State:
    """`caps_w`: one entry a member, `UNCAPPED` where there is none; the others one a limit."""

    rises: Rises
    held_s: Watts  # when a limit last held somebody back: what is let go then is no rise
    waits: Waits
    ramp: Ramp
    caps_w: Watts
    load: Watts  # share of the rating, training at its limits
    t1: Watts
    t2: Watts
    shed_at: Watts  # the load at which caps were last lowered; 0: there are none
    clocks: Watts  # share of its highest clock that each member may run at
    lag_s: float


def begin(now_s: float, view: RowView) -> State:
    limits, nodes = len(view.ratings_w), len(view.most_w)
    nothing = np.zeros(limits)
    return State(
        rises.begin(now_s, limits), np.full(limits, -np.inf), restore.begin(limits), ramp.begin(nodes),
        np.full(nodes, UNCAPPED), nothing, nothing, nothing, nothing, np.ones(nodes), view.lag_s,
    )


def wishes(state: State, now_s: float, view: RowView, chance: Chance) -> tuple[State, Watts]:
    """See `Policy`."""
    load_w = view.load_w + _unseen_w(view, np.minimum(state.caps_w, view.most_w))
    load = load_w / view.ratings_w
    held_s = np.where(_held_back(view), now_s, state.held_s)
    seen = state.rises.look(now_s, _apart_w(view), view.ratings_w, now_s - held_s > view.lag_s, view.lag_s)
    t1, t2 = thresholds(seen)
    expected = (load_w - pending_w(view, state.caps_w, now_s - state.waits.shed_s)) / view.ratings_w
    caps_w = _shed(view, state.caps_w, expected, t1, t2)
    lowered = _any(view, caps_w < state.caps_w)
    room_w = np.where(lowered, 0.0, (t1 - HYSTERESIS - (load if view.obeyed else expected)) * view.ratings_w)
    caps_w, waits = restore.step(state.waits, now_s, view, caps_w, lowered, room_w, chance)
    slope = state.ramp.follow(now_s, view)
    shed_at = np.where(lowered, expected, np.where(_any(view, caps_w < UNCAPPED), state.shed_at, 0.0))
    limits_w = fitted(view, np.minimum(np.minimum(view.most_w, caps_w), slope.caps_w(view)), view.bears_w)
    return State(seen, held_s, waits, slope, caps_w, load, t1, t2, shed_at, _clocks(view, caps_w), view.lag_s), limits_w


def thresholds(seen: Rises) -> tuple[Watts, Watts]:
    """(T1, T2), shares of the rating."""
    t2 = np.maximum(1.0 - seen.highest() - SAFETY, LOWEST[1])
    return np.clip(t2 - seen.quantile(EXPECTED_SHARE), LOWEST[0], t2 - HYSTERESIS), t2


def _shed(view: RowView, caps_w: Watts, load: Watts, t1: Watts, t2: Watts) -> Watts:
    """Caps that bring each limit's load below its threshold, by those whose turn it is; as they were where it is below."""
    drawn_w = np.minimum(np.where(view.training, view.most_w, view.power_w), caps_w)
    last = int(view.priority.max())
    for may_give, threshold in (((view.priority < last) | (last == 0), t1), (np.ones(len(caps_w), bool), t2)):
        above = load > threshold
        if above.any():
            cut_w = np.where(above, load - (threshold - HYSTERESIS), 0.0) * view.ratings_w
            lower_w = np.minimum(caps_w, shed(view, drawn_w, cut_w, may_give))
            load = load - view.level.sums(view.level.members.gain * np.nan_to_num(np.maximum(drawn_w - lower_w, 0.0))) / view.ratings_w
            caps_w, drawn_w = lower_w, np.minimum(drawn_w, lower_w)
    return caps_w


def _clocks(view: RowView, caps_w: Watts) -> Watts:
    """A lock that lets a capped node's cards peak at about its cap: what is over before a power limit answers. Ranks of training are left alike."""
    share = np.maximum((np.minimum(caps_w, view.level.members.default_w) / view.level.members.default_w) ** (1 / CLOCK_POWER), LOWEST_CLOCK)
    return np.where(view.training, 1.0, share)


def _apart_w(view: RowView) -> Watts:
    """What each limit carries besides training nodes, whose rises are at their limits already."""
    drawn_w = np.where(view.training, np.nan_to_num(view.power_w), 0.0)
    return view.load_w - view.level.sums(view.level.members.gain * drawn_w)


def _unseen_w(view: RowView, limits_w: Watts) -> Watts:
    """By how much training nodes may draw more than they do now. A silent one is in the load at its worst."""
    above_w = np.where(view.training, np.maximum(limits_w - view.power_w, 0.0), 0.0)
    return view.level.sums(view.level.members.gain * np.nan_to_num(above_w))


def _held_back(view: RowView) -> Flags:
    """Limits under which some node stands at its own, or is silent."""
    stands = (view.power_w >= AT_LIMIT_RATIO * view.limit_w) & (view.limit_w < view.level.members.default_w)
    return _any(view, (stands & view.obeyed) | np.isnan(view.power_w))


def _any(view: RowView, flags: Flags) -> Flags:
    """Whether any member of each limit."""
    return view.level.tallies(flags) > 0


def why(state: State, limit: int) -> str:
    """See `Policy`."""
    t1, t2, shed_at = state.t1[limit], state.t2[limit], state.shed_at[limit]
    rose = state.rises.highest()[limit]
    learnt = f"load was seen to rise by {rose:.1%} within the {state.lag_s:.1f} s that a cut takes"
    if not shed_at:
        return f"headroom: nobody has to give below {t1:.1%}; {learnt}"
    who = "all priorities give, the last one last" if shed_at > t2 else "the lower priorities give"
    return f"headroom: at {shed_at:.1%}, above {t2 if shed_at > t2 else t1:.1%}, {who}, and get it back in small steps; {learnt}"


def locks(state: State) -> Watts:
    """See `Policy`."""
    return state.clocks


POLICY: Final = Policy(begin, wishes, why, locks)
