"""Limits' heat that outlives this controller.

What is kept is no reading but a bound: where the heat may be, at worst, once all grants in force have lapsed and settled. So it holds
however long nobody looks, and is written again only when the bound rises, or has fallen by much.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from gpuwarden.controller.power.breaker import WRITTEN_SHARE, Values
from gpuwarden.controller.power.level import SETTLING_S, Watts
from gpuwarden.controller.power.tree import Tree

RISE_SHARE: Final = 0.01  # of the trip: kept with this much on top, so that not every step is written


@dataclass(frozen=True, slots=True)
class LimitHeat:
    """Heat of a limit (`breaker` has its unit), in terms of `rating_w`, of one that trips at `trip_heat`."""

    domain: str
    limit: str
    rating_w: float
    trip_heat: float
    heat: float


class HeatKept:
    """What of one domain's heat is durable by now."""

    def __init__(self, domain: str, tree: Tree) -> None:
        self._domain = domain
        self._kept = np.full(len(tree.limit_names), np.nan)

    def changes(
        self, tree: Tree, heats: Sequence[Values], ratings_w: Sequence[Watts], worst_w: Watts, for_ever_w: Watts, lapse_s: float
    ) -> tuple[LimitHeat, ...]:
        """What must be kept before a grant leaves. `tree`: the same limits, with what they carry now beside nodes.

        `worst_w`: the highest limit that each node may be obeying, that grant included; `for_ever_w`: the one that no lease ends.
        """
        return tuple(self._changes(tree, heats, ratings_w, worst_w, for_ever_w, lapse_s))

    def _changes(
        self, tree: Tree, heats: Sequence[Values], ratings_w: Sequence[Watts], worst_w: Watts, for_ever_w: Watts, lapse_s: float
    ) -> Iterator[LimitHeat]:
        whole, heat, rating_w, kept = tree.whole, np.concatenate(heats), np.concatenate(ratings_w), self._kept
        breakers, unknown = whole.breakers, whole.breakers.unknown
        rate = np.maximum(0.0, breakers.rate(whole.totals_w(worst_w[whole.nodes]) / rating_w))
        lapses = whole.totals_w(for_ever_w[whole.nodes]) <= rating_w
        bound = np.where(lapses, np.minimum(heat + breakers.spike_heat + rate * (lapse_s + SETTLING_S), unknown), unknown)
        stale = ~((kept >= bound) & (kept <= bound + WRITTEN_SHARE * unknown))
        self._kept = np.where(stale, np.minimum(bound + RISE_SHARE * unknown, unknown), kept)
        for place in np.flatnonzero(stale).tolist():
            trip_heat = float(breakers.trip_heat[place])
            yield LimitHeat(self._domain, whole.names[place], float(rating_w[place]), trip_heat, float(self._kept[place]))


def begin(tree: Tree, ratings_w: Sequence[Watts], remembered: Sequence[LimitHeat]) -> list[Values]:
    """Heat to begin with: as remembered of the same element, else unknown, which is just below the trip."""
    known = {(one.limit, one.rating_w, one.trip_heat): one.heat for one in remembered}
    return [
        np.array([
            min(known.get((name, rating_w, trip_heat), unknown), unknown)
            for name, rating_w, trip_heat, unknown in zip(
                level.names, of_level_w.tolist(), level.breakers.trip_heat.tolist(), level.breakers.unknown.tolist(), strict=True
            )
        ])
        for level, of_level_w in zip(tree.levels, ratings_w, strict=True)
    ]
