"""Headroom: limits may add up to more than is carried, by as much as loads have been seen to stay apart; ours.

Thresholds of each limit come from the rises that were observed within the measured lag (`rises`): T2 = b - r(L) - safety, where b is the load that
its trip curve bears for one lease, as warm as it is, and T1 = T2 - the rise expected while a cut takes effect. Above T1 all priorities but the last
give, the lowest first, above T2 the last as well: first their clocks are locked lower (`dim`), then their power is limited (`shed`), and a lock at the level of
the limit keeps the peaks near it that are shorter than the limit's answer. What was taken is given back in small random steps, later each time
that it had to be taken again. Training nodes count at their limits, since their peaks come together, and their rises are slowed down to a ramp (`ramp`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from gpuwarden.controller.policies import ramp, restore, rises
from gpuwarden.controller.policies.dim import LOWEST as LOWEST_CLOCK
from gpuwarden.controller.policies.dim import PEAK_POWER, brighten, dim, dimmed_w, kept, placed
from gpuwarden.controller.policies.fair_share import AT_LIMIT_RATIO
from gpuwarden.controller.policies.policy import Chance, Policy
from gpuwarden.controller.policies.ramp import Ramp
from gpuwarden.controller.policies.restore import Waits
from gpuwarden.controller.policies.rises import Rises
from gpuwarden.controller.policies.shed import UNCAPPED, fitted, pending_w, shed
from gpuwarden.controller.policies.view import RowView
from gpuwarden.controller.power.level import Flags, Watts

SAFETY: Final = 0.01  # the sensors' errors are in the load already
EXPECTED_SHARE: Final = 0.75  # of the time, in which the rise while a cut takes effect was not passed
HIGHEST: Final = 0.985  # T2: nothing stands above its rating for long
LIMITED: Final = 1.05  # where clocks can be locked, no power limit below: a peak that is over when it is answered only heats, and half way to a trip all changes
LOWEST: Final = (0.75, 0.80)  # T1, T2: a rise beyond them is over the rating for one lag, which the allocator knows to hold or does not let be
HYSTERESIS: Final = 0.02  # of the rating: noise, and more than what one step gives back
DIMMED_BELOW, BRIGHTER_BELOW = 0.01, 0.015  # a threshold: clocks come down to the one and are given back to the other


@dataclass(frozen=True, eq=False)
class State:
    """`caps_w` (`UNCAPPED` where there is none), `dimmed`, `clocks`: one entry a member; the others one a limit."""

    rises: Rises
    held_s: Watts  # when a limit last held somebody back: what is let go then is no rise
    waits: Waits
    ramp: Ramp
    caps_w: Watts
    load: Watts  # share of the rating, training at its limits
    t1: Watts
    t2: Watts
    shed_at: Watts  # the load at which something was last taken; 0: nothing is
    dimmed: Watts  # share of its highest clock that each member gives down to, if all of its priority give alike
    dims_w: Watts  # what was last taken so, and may not show yet
    dimmed_s: Watts  # when that was
    brighter_s: Watts  # when the next of it may come back
    clocks: Watts  # share of its highest clock that each member may run at, by that and by its cap
    lag_s: float


def begin(now_s: float, view: RowView) -> State:
    limits, nodes = len(view.ratings_w), len(view.most_w)
    nothing = np.zeros(limits)
    return State(
        rises.begin(now_s, limits), np.full(limits, -np.inf), restore.begin(limits), ramp.begin(nodes),
        np.full(nodes, UNCAPPED), nothing, nothing, nothing, nothing,
        np.ones(nodes), nothing, np.full(limits, -np.inf), np.full(limits, -np.inf), np.ones(nodes), view.lag_s,
    )


def wishes(state: State, now_s: float, view: RowView, chance: Chance) -> tuple[State, Watts]:
    """See `Policy`."""
    state = replace(state, caps_w=np.maximum(state.caps_w, view.least_w), dimmed=np.maximum(state.dimmed, kept(view)))
    load_w = view.load_w + _unseen_w(view, np.minimum(state.caps_w, view.most_w))
    load = load_w / view.ratings_w
    held_s = np.where(_held_back(view), now_s, state.held_s)
    seen = state.rises.look(now_s, _apart_w(view), view.ratings_w, now_s - held_s > view.lag_s, view.lag_s)
    t1, t2 = thresholds(seen, view.bears_w / view.ratings_w)
    dims_w = np.where(now_s - state.dimmed_s < view.lag_s, state.dims_w, 0.0)
    expected = (load_w - _pending_w(state, now_s, view, dims_w)) / view.ratings_w
    dimmed, caps_w = _taken(view, state, expected, t1, t2)
    capped, darker = _any(view, caps_w < state.caps_w), _any(view, dimmed < state.dimmed)
    dims_w = dims_w + dimmed_w(view, dimmed, state.dimmed)
    caps_w, dimmed, waits, brighter_s = _given_back(view, state, now_s, load if view.obeyed else expected, caps_w, dimmed, t1, chance)
    slope = state.ramp.follow(now_s, view)
    shed_at = np.where(capped | darker, expected, np.where(_any(view, (caps_w < UNCAPPED) | (dimmed < 1.0)), state.shed_at, 0.0))
    limits_w = fitted(view, np.minimum(np.minimum(view.most_w, caps_w), slope.caps_w(view)), view.bears_w)
    clocks = np.minimum(placed(view, dimmed, state.clocks, chance), _clocks(view, caps_w))
    dimmed_s = np.where(darker, now_s, state.dimmed_s)
    return State(seen, held_s, waits, slope, caps_w, load, t1, t2, shed_at, dimmed, dims_w, dimmed_s, brighter_s, clocks, view.lag_s), limits_w


def thresholds(seen: Rises, bears: Watts) -> tuple[Watts, Watts]:
    """(T1, T2), shares of the rating. `bears`: the share of it that each limit stands for one lease."""
    t2 = np.clip(bears - seen.highest() - SAFETY, LOWEST[1], HIGHEST)
    return np.clip(t2 - seen.quantile(EXPECTED_SHARE), LOWEST[0], t2 - HYSTERESIS), t2


def _pending_w(state: State, now_s: float, view: RowView, dims_w: Watts) -> Watts:
    """By how much each limit's load will yet fall by what was taken."""
    by_locks_w = dims_w if view.obeyed else dimmed_w(view, state.dimmed, np.ones(len(state.dimmed)))
    return by_locks_w + pending_w(view, state.caps_w, now_s - state.waits.shed_s)


def _taken(view: RowView, state: State, load: Watts, t1: Watts, t2: Watts) -> tuple[Watts, Watts]:
    """Clocks and caps that bring each limit's load below its threshold, by those whose turn it is; as they were where it is below."""
    dimmed, caps_w = state.dimmed, state.caps_w
    drawn_w = np.minimum(np.where(view.training, view.most_w, view.power_w), caps_w)
    last, limited = int(view.priority.max()), _limited(view, state, t2)
    for may_give, threshold in (((view.priority < last) | (last == 0), t1), (np.ones(len(caps_w), bool), t2)):
        above = load > threshold
        if above.any():
            cut_w = np.where(above, load - (threshold - DIMMED_BELOW), 0.0) * view.ratings_w
            before, (dimmed, left_w) = dimmed, dim(view, dimmed, cut_w, may_give)
            drawn_w, load = drawn_w * dimmed / before, load - (cut_w - left_w) / view.ratings_w
            left_w = np.where(left_w > 0, load - (np.maximum(threshold, limited) - HYSTERESIS), 0.0) * view.ratings_w
            lower_w = np.minimum(caps_w, shed(view, drawn_w, left_w, may_give))
            load = load - view.level.sums(view.level.members.gain * np.fmax(drawn_w - lower_w, 0.0)) / view.ratings_w
            caps_w, drawn_w = lower_w, np.minimum(drawn_w, lower_w)
    return dimmed, caps_w


def _given_back(
    view: RowView, state: State, now_s: float, load: Watts, caps_w: Watts, dimmed: Watts, t1: Watts, chance: Chance
) -> tuple[Watts, Watts, Waits, Watts]:
    """Caps, clocks, and when each may next be given back; where power is limited, that comes back first. Nothing where something has just been taken."""
    capped, darker, limited = _any(view, caps_w < state.caps_w), _any(view, dimmed < state.dimmed), _any(view, caps_w < UNCAPPED)
    below = np.where(limited & _any(view, dimmed < 1.0), np.maximum(t1, _limited(view, state, t1)), t1)
    room_w = np.where(capped | darker, 0.0, below - HYSTERESIS - load) * view.ratings_w
    caps_w, waits = restore.step(state.waits, now_s, view, caps_w, capped, room_w, chance)
    room_w = np.where(capped | darker | limited, 0.0, t1 - BRIGHTER_BELOW - load) * view.ratings_w
    dimmed, brighter_s = brighten(view, now_s, state.brighter_s, dimmed, darker, room_w, chance)
    return caps_w, dimmed, waits, brighter_s


def _limited(view: RowView, state: State, t2: Watts) -> Watts:
    """The load above which power is limited where clocks can be locked: what the trip curve bears less the largest rise, not much above the rating. 0 elsewhere."""
    bears = view.bears_w / view.ratings_w - state.rises.highest() - SAFETY
    return np.where(_any(view, view.lockable & ~view.training), np.clip(bears, t2, LIMITED), 0.0)


def _clocks(view: RowView, caps_w: Watts) -> Watts:
    """A lock that lets a capped node's cards peak at about its cap: what is over before a power limit answers. Ranks of training are left alike."""
    share = np.maximum((np.minimum(caps_w, view.level.members.default_w) / view.level.members.default_w) ** (1 / PEAK_POWER), LOWEST_CLOCK)
    return np.where(view.training, 1.0, share)


def _apart_w(view: RowView) -> Watts:
    """What each limit carries besides training nodes, whose rises are at their limits already."""
    drawn_w = np.where(view.training, np.fmax(view.power_w, 0.0), 0.0)
    return view.load_w - view.level.sums(view.level.members.gain * drawn_w)


def _unseen_w(view: RowView, limits_w: Watts) -> Watts:
    """By how much training nodes may draw more than they do now. A silent one is in the load at its worst."""
    above_w = np.where(view.training, np.fmax(limits_w - view.power_w, 0.0), 0.0)
    return view.level.sums(view.level.members.gain * above_w)


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


def learnt(state: State) -> Watts:
    """See `Policy`."""
    return state.rises.seen_s


def resumed(state: State, seen_s: Mapping[int, Watts]) -> State:
    """See `Policy`."""
    return replace(state, rises=state.rises.resumed(seen_s))


POLICY: Final = Policy(begin, wishes, why, locks, learnt, resumed, keeps_floors=True)
