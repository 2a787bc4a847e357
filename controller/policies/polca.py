"""POLCA (Patel et al., ASPLOS'24) as published: `ladder`'s thresholds of a limit's load lock clocks, the lower priorities first.

Power limits stay at the most. The paper's brake, all clocks at 288 of 1410 MHz above 100 %, is a lock as well; what truly must hold is
held by the allocator. All priorities but the last are the paper's low one.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from gpuwarden.controller.policies.ladder import BRAKE, LADDERS, UNLOCKED, Standing, climb, clocks
from gpuwarden.controller.policies.policy import Chance, Policy
from gpuwarden.controller.policies.view import RowView
from gpuwarden.controller.power.level import Watts

LADDER: Final = LADDERS["polca"]


@dataclass(frozen=True, eq=False)
class State:
    """`stands`, `brakes`, `load`: one entry a limit; `clocks`: shares of the highest clock, one entry a member."""

    stands: tuple[Standing, ...]
    brakes: tuple[Standing, ...]
    load: Watts
    clocks: Watts


def begin(now_s: float, view: RowView) -> State:
    limits = len(view.ratings_w)
    return State((Standing(),) * limits, (Standing(),) * limits, np.zeros(limits), np.full(len(view.most_w), UNLOCKED))


def wishes(state: State, now_s: float, view: RowView, chance: Chance) -> tuple[State, Watts]:
    """See `Policy`. No chance is taken."""
    load = view.load_w / view.ratings_w
    stands, brakes = (
        tuple(climb(ladder, stood, now_s, at, view.lag_s) for stood, at in zip(before, load.tolist(), strict=True))
        for ladder, before in ((LADDER, state.stands), (BRAKE, state.brakes))
    )
    low, high = np.minimum([clocks(LADDER, stood) for stood in stands], [clocks(BRAKE, braked) for braked in brakes]).T
    gives = view.priority < view.priority.max()
    return State(stands, brakes, load, np.where(gives, view.level.spread(low), view.level.spread(high))), view.most_w


def locks(state: State) -> Watts:
    """See `Policy`."""
    return state.clocks


def why(state: State, limit: int) -> str:
    """See `Policy`."""
    if state.brakes[limit].rungs:
        return f"polca: above {BRAKE[0].above:.0%} all clocks are at {BRAKE[0].low_clock:.0%}, until it is below {BRAKE[0].below:.0%}"
    if not (rungs := state.stands[limit].rungs):
        return f"polca: below {LADDER[0].above:.0%} no clock is locked"
    rung = LADDER[rungs - 1]
    high = f" and the high one at {rung.high_clock:.0%}" if rung.high_clock < UNLOCKED else ""
    return f"polca: above {rung.above:.0%} clocks of the low priority are locked at {rung.low_clock:.0%}{high}, until it is below {rung.below:.0%}"


POLICY: Final = Policy(begin, wishes, why, locks)
