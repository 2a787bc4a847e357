"""What limits stand, for many of them side by side. Arrays have one entry a limit.

Heat E grows while the load is above the rating and falls below it, never under 0; E >= K trips. By kind:
- thermal: dE/dt = r^2 - 1 for a load ratio r. K in seconds, from the hot lower edge of the maker's band.
- contract: dE/dt = r - 1: energy beyond the contract. K is what the contract lets pass, in seconds at the rating.
- timed (a UPS on battery): every second above the rating spends 1 / T(r) of it, where T is the table's time at the next higher
  overload; K is 1. Under the rating it recovers in `RECOVERY_S`.
- hard: nothing above the rating, however short.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gpuwarden.controller.power.limit import LimitConfig

RECOVERY_S: Final = 3600.0  # of a battery: far below the rate at which one is charged again
BISECTIONS: Final = 10
UNKNOWN_SHARE: Final = 0.999  # an unknown history counts as just below the trip

Values = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Breakers:
    """`above`, `spends`: (points, limits): above that load ratio a second spends so much of a timed limit; 0 for the others."""

    thermal: Flags
    timed: Flags
    above: Values
    spends: Values
    trip_heat: Values
    ceiling_ratio: Values

    @property
    def unknown(self) -> Values:
        """Heat of limits whose history nobody knows: just below the trip."""
        return np.where(np.isfinite(self.trip_heat), UNKNOWN_SHARE * self.trip_heat, 0.0)

    def rate(self, load_ratio: Values) -> Values:
        """dE/dt."""
        rate = np.where(self.thermal, load_ratio * load_ratio - 1.0, load_ratio - 1.0)
        return np.where(self.timed, self._spent(load_ratio), rate) if self.timed.any() else rate

    def _spent(self, load_ratio: Values) -> Values:
        spent: Values = np.where(load_ratio > self.above, self.spends, -1.0 / RECOVERY_S).max(axis=0)
        return spent

    def after(self, heat: Values, load_ratio: Values, seconds: float) -> Values:
        """E after `seconds` at a constant load ratio."""
        return np.maximum(0.0, heat + self.rate(load_ratio) * seconds)

    def bears(self, heat: Values, seconds: float) -> Values:
        """The highest load ratio that each stands for so long from this heat, to the 1024th part of its ceiling; 0 where none."""
        ratio, step = np.zeros(len(heat)), 0.5
        for _ in range(BISECTIONS):
            higher = (ratio + step) * self.ceiling_ratio
            ratio, step = ratio + step * (self.after(heat, higher, seconds) < self.trip_heat), step / 2
        return np.where(self.after(heat, self.ceiling_ratio, seconds) < self.trip_heat, 1.0, ratio) * self.ceiling_ratio

    def only(self, chosen: Flags) -> "Breakers":
        return Breakers(
            self.thermal[chosen], self.timed[chosen], self.above[:, chosen], self.spends[:, chosen],
            self.trip_heat[chosen], self.ceiling_ratio[chosen],
        )


def breakers_of(limits: Sequence[LimitConfig]) -> Breakers:
    points = max([1, *(len(limit.trip) for limit in limits if limit.kind == "timed")])
    above, spends = np.full((points, len(limits)), np.inf), np.zeros((points, len(limits)))
    for number, limit in enumerate(limits):
        if limit.kind == "timed":
            edges = [1.0, *(overload for overload, _ in limit.trip)]
            above[: len(limit.trip), number] = edges[:-1]
            spends[: len(limit.trip), number] = [1.0 / seconds for _, seconds in limit.trip]
    return Breakers(
        np.array([limit.kind == "thermal" for limit in limits]), np.array([limit.kind == "timed" for limit in limits]), above, spends,
        np.array([limit.trip_heat for limit in limits]), np.array([limit.ceiling for limit in limits]),
    )
