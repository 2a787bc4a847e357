"""Limits' heat that outlives this controller.

Two bounds are kept of each limit, no readings: how warm it may be as the newest grants leave, once their raises have overshot; and how warm
once all of them have lapsed and settled. Who starts anew hears from limiters how long ago somebody last granted, and what they have drawn
since: within a lease the first bound counts, warmed by that, else the second, however long nobody looked. Both are true as long as no grant
leaves, so they are written again only where one rises, or has fallen by much.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from gpuwarden.controller.power.breaker import WRITTEN_SHARE, Values
from gpuwarden.controller.power.level import SETTLING_S, Level, Watts
from gpuwarden.controller.power.tree import Tree

RISE_SHARE: Final = 0.01  # of the trip: kept with this much on top, so that not every step is written


@dataclass(frozen=True, slots=True)
class LimitHeat:
    """Of a limit (`breaker` has the unit), in terms of `rating_w`, of one that trips at `trip_heat`: as grants leave, and once they have lapsed."""

    domain: str
    limit: str
    rating_w: float
    trip_heat: float
    heat: float
    lapsed_heat: float


@dataclass(frozen=True, slots=True)
class Granted:
    """What grants that are about to leave may lead to, W of each node's limit: `worst_w` may be obeyed for `lapse_s`, `for_ever_w` then.
    `unpaid`: share of its overshoot that no heat has yet."""

    worst_w: Watts
    unpaid: Watts
    for_ever_w: Watts
    lapse_s: float


class HeatKept:
    """What of one domain's heat is durable by now."""

    def __init__(self, domain: str, tree: Tree) -> None:
        self._domain = domain
        self._kept = np.full((2, len(tree.limit_names)), np.nan)

    def changes(self, tree: Tree, heats: Sequence[Values], ratings_w: Sequence[Watts], granted: Granted) -> tuple[LimitHeat, ...]:
        """What must be kept before the grants leave. `tree`: the same limits, with what they carry now beside nodes."""
        return tuple(self._changes(tree.whole, np.concatenate(heats), np.concatenate(ratings_w), granted))

    def _changes(self, whole: Level, heat: Values, rating_w: Watts, granted: Granted) -> Iterator[LimitHeat]:
        bounds, unknown, kept = _bounds(whole, heat, rating_w, granted), whole.breakers.unknown, self._kept
        stale = ~((kept >= bounds) & (kept <= bounds + WRITTEN_SHARE * unknown)).all(axis=0)
        self._kept = np.where(stale, np.minimum(bounds + RISE_SHARE * unknown, unknown), kept)
        for place in np.flatnonzero(stale).tolist():
            own = rating_w.item(place), whole.breakers.trip_heat.item(place), *self._kept[:, place].tolist()
            yield LimitHeat(self._domain, whole.names[place], *own)


def _bounds(whole: Level, heat: Values, rating_w: Watts, granted: Granted) -> Values:
    """(as grants leave | once they have lapsed, limits)."""
    unknown, worst_w = whole.breakers.unknown, granted.worst_w[whole.nodes]
    leaving = np.minimum(heat + whole.overshoot_heat(rating_w, worst_w, granted.unpaid[whole.nodes]), unknown)
    warming = np.maximum(0.0, whole.breakers.rate(whole.totals_w(worst_w) / rating_w))
    lapses = whole.totals_w(granted.for_ever_w[whole.nodes]) <= rating_w
    return np.stack((leaving, np.where(lapses, np.minimum(leaving + warming * (granted.lapse_s + SETTLING_S), unknown), unknown)))


@dataclass(frozen=True, eq=False)
class Found:
    """What a controller begins with, one entry a limit of the whole tree: the two bounds of each."""

    heat: Values
    lapsed_heat: Values

    def now(self, warming: Values, since_s: float) -> Values:
        """`warming`: dE/dt by the most that each has carried since somebody last granted, `since_s` ago; inf: nobody knows when."""
        if math.isinf(since_s):
            return self.lapsed_heat.copy()
        return np.minimum(self.heat + np.maximum(0.0, warming) * since_s, self.lapsed_heat)

    def forget(self, unknown: Values, limits: slice = slice(None)) -> None:
        """Of these limits nothing is known any more."""
        self.heat[limits] = self.lapsed_heat[limits] = unknown[limits]


def found(tree: Tree, ratings_w: Sequence[Watts], remembered: Sequence[LimitHeat]) -> Found:
    """As remembered of the same element, else unknown, which is just below the trip."""
    known = {(one.limit, one.rating_w, one.trip_heat): (one.heat, one.lapsed_heat) for one in remembered}
    whole = tree.whole
    keys = zip(whole.names, np.concatenate(ratings_w).tolist(), whole.breakers.trip_heat.tolist(), strict=True)
    kept = [known.get(key, (unknown, unknown)) for key, unknown in zip(keys, whole.breakers.unknown.tolist(), strict=True)]
    heat, lapsed_heat = np.minimum(np.array(kept).T, whole.breakers.unknown)
    return Found(heat, lapsed_heat)
