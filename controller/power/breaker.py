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
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gpuwarden.controller.power.limit import LimitConfig

SPIKE_S: Final = 0.25  # a card overshoots a new limit by half for less
RECOVERY_S: Final = 3600.0  # of a battery: far below the rate at which one is charged again
FINEST: Final = 10  # bits: a 1024th of the ceiling
AT_ONCE: Final = 5  # bits that are found at once: numpy's calls are what costs
WRITTEN_SHARE: Final = 0.05  # of the trip: what is durable of a heat may be so much above what must be, so that not every step is written
RESTART_SHARE: Final = 0.05  # of the trip: by so much a limit may be warmed around a restart, and no cap changes
SPARE_SHARE: Final = WRITTEN_SHARE + RESTART_SHARE  # of the trip: no lease uses it
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

    @cached_property
    def unknown(self) -> Values:
        """Heat of limits whose history nobody knows: just below the trip."""
        return np.where(np.isfinite(self.trip_heat), UNKNOWN_SHARE * self.trip_heat, 0.0)

    def rate(self, load_ratio: Values) -> Values:
        """dE/dt. The last axis of `load_ratio` counts the limits."""
        rate: Values = load_ratio * (load_ratio if self._all_thermal else np.where(self.thermal, load_ratio, 1.0)) - 1.0
        return np.where(self.timed, self._spent(load_ratio), rate) if self._some_timed else rate

    @cached_property
    def _all_thermal(self) -> bool:
        return bool(self.thermal.all())

    @cached_property
    def _some_timed(self) -> bool:
        return bool(self.timed.any())

    def _spent(self, load_ratio: Values) -> Values:
        spent: Values = np.where(load_ratio[..., None, :] > self.above, self.spends, -1.0 / RECOVERY_S).max(axis=-2)
        return spent

    def after(self, heat: Values, load_ratio: Values, seconds: float) -> Values:
        """E after `seconds` at a constant load ratio."""
        return np.maximum(0.0, heat + self.rate(load_ratio) * seconds)

    def peak(self, heat: Values, load_ratios: Values, seconds: Values) -> Values:
        """The highest E on the way through ever lower loads: the first axis of `load_ratios` counts them, as `seconds` does.

        E rises as long as they are above the rating; were one higher than the one before it, this would be more than the highest.
        """
        gained = self.gained(load_ratios, seconds)
        gained[0] += heat
        highest: Values = np.add.reduce(gained, axis=0)
        return highest

    def gained(self, load_ratios: Values, seconds: Values) -> Values:
        """By how much E rises under each of these loads, one for each of the `seconds`; 0 where it falls."""
        return np.maximum(self.rate(load_ratios) * seconds.reshape(-1, *[1] * (load_ratios.ndim - 1)), 0.0)

    def bears(self, heat: Values, seconds: float) -> Values:
        """The highest load ratio that each stands for so long from this heat, to the 1024th part of its ceiling; 0 where none."""

        def bears(ratio: Values) -> Flags:
            return self.after(heat, ratio * self.ceiling_ratio, seconds) < self.trip_heat

        ratio = np.zeros(len(heat))
        for found in range(AT_ONCE, FINEST + 1, AT_ONCE):
            ratio = ratio + bears(ratio + np.arange(1.0, 2.0**AT_ONCE)[:, None] / 2.0**found).sum(axis=0) / 2.0**found
        return np.where(bears(np.ones(len(heat))), 1.0, ratio) * self.ceiling_ratio

    def only(self, chosen: Flags) -> "Breakers":
        return Breakers(
            self.thermal[chosen], self.timed[chosen], self.above[:, chosen], self.spends[:, chosen],
            self.trip_heat[chosen], self.ceiling_ratio[chosen],
        )


def side_by_side(groups: Sequence[Breakers]) -> Breakers:
    points = max(len(one.above) for one in groups)
    above = [np.pad(one.above, ((0, points - len(one.above)), (0, 0)), constant_values=np.inf) for one in groups]
    spends = [np.pad(one.spends, ((0, points - len(one.spends)), (0, 0))) for one in groups]
    thermal, timed = (np.concatenate([getattr(one, name) for one in groups]) for name in ("thermal", "timed"))
    trip_heat, ceiling_ratio = (np.concatenate([getattr(one, name) for one in groups]) for name in ("trip_heat", "ceiling_ratio"))
    return Breakers(thermal, timed, np.concatenate(above, axis=1), np.concatenate(spends, axis=1), trip_heat, ceiling_ratio)


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
