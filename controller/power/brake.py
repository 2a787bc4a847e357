"""The brake: under a limit that by measurement carries more than it may, every node goes to its floor, whoever planned what.

The allocator keeps to what cards may draw that obey their limits. This is for when they do not, or a class of nodes draws otherwise than was
written down. It rests on readings alone, waits for no policy, and lets go only once the load has stayed below the rating for a while.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from gpuwarden.controller.power.breaker import Values
from gpuwarden.controller.power.level import Flags, Level, Seconds, Watts

OVER_S: Final = 1.5  # of a limit that trips at any overload: longer than cards settle; the others are warm first
HOT: Final = 0.9  # of the way to a trip, as far as this controller has seen it warmed: what came before is the allocator's care
BEGINS: Final = 0.5
CALM_RATIO: Final = 0.95
CALM_S: Final = 30.0


@dataclass(slots=True)
class Brake:
    """Mutable, one entry a limit, in the order of `Tree.limit_names`. NaN: is not so now."""

    on: Flags
    heat: Values
    over_s: Seconds  # since when it carries more than it may
    calm_s: Seconds  # since when a braked one carries clearly less
    looked_s: float | None = None

    def look(self, now_s: float, whole: Level, told_w: Watts, ratings_w: Sequence[Watts]) -> None:
        """`whole`: all limits of the tree; `told_w`: what the GPUs of nodes draw whose limits are in force, as they say, 0 for the others, one entry a node."""
        drawn_w = whole.other_w + whole.sums(whole.draws_w(told_w[whole.nodes]))
        load = np.where(whole.usual, drawn_w / np.concatenate(ratings_w), 0.0)
        passed_s = 0.0 if self.looked_s is None else now_s - self.looked_s
        trips, self.looked_s = whole.breakers.trip_heat, now_s
        self.heat = np.minimum(whole.breakers.after(self.heat, load, passed_s), trips)
        self.over_s = _since(self.over_s, now_s, load > 1.0)
        self.calm_s = _since(self.calm_s, now_s, self.on & (load <= CALM_RATIO))
        must = (load > 1.0) & np.where(np.isinf(trips), now_s - self.over_s >= OVER_S, self.heat >= HOT * trips)
        self.on = must | (self.on & ~(now_s - self.calm_s >= CALM_S))


def brake_of(whole: Level) -> Brake:
    limits, trips = len(whole.names), whole.breakers.trip_heat
    heat = np.where(np.isinf(trips), 0.0, BEGINS * trips)
    return Brake(np.zeros(limits, bool), heat, np.full(limits, np.nan), np.full(limits, np.nan))


def _since(since_s: Seconds, now_s: float, so: Flags) -> Seconds:
    return np.where(so, np.where(np.isnan(since_s), now_s, since_s), np.nan)
