"""A limit of the tree as the operator writes it: a rack's breaker, a feed, a phase, a UPS, a contract."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from gpuwarden.controller.power.hostlist import BadHostlist, expand
from gpuwarden.controller.power.meter_config import MeterConfig
from gpuwarden.core.config import option

KINDS: Final = ("thermal", "timed", "contract", "hard")
HOT_TRIP_HEAT_S: Final = 11.0
COLD_TO_HOT: Final = 5.0  # a row's curve with a time constant of 248 s trips at twice the rating after 89 s cold and 18 s hot
CEILING_RATIO: Final = 1.4


@dataclass(frozen=True, slots=True)
class LimitConfig:
    """What one element carries, and what hangs on it."""

    name: str = option("name of the limit")
    rating_w: float = option("what it carries for ever, derated; 80 % of a UL breaker's rating unless it is 100 %-rated")
    parent: str = option("limit above it; without it the domain's own", default="")
    nodes: tuple[str, ...] = option("nodes that hang on it directly; what hangs on limits below it counts too", default=())
    share: float = option("of the draw of `nodes` that goes through it: 0.5 where a node has two feeds, 0.333 on each of three phases", default=1.0)
    base_w: float = option("what else hangs on it and cannot be shed, at its largest, as after the loss of another feed: switches, fans, foreign load", default=0.0)
    kind: str = option("thermal (breaker, cable), timed (UPS on battery), contract (energy over a window) or hard", default="thermal")
    trip: tuple[tuple[float, ...], ...] = option("points of the trip curve: [load / rating, seconds], the lower edge of the maker's band", default=())
    curve: str = option("whether `trip` is of a hot or a cold element; a cold thermal curve is divided by 5", default="hot")
    ceiling_ratio: float = option("never more than this share of the rating, however short; a timed limit ends with its table", default=CEILING_RATIO)
    dead_nodes: int | None = option("nodes always counted at the driver's default; default the larger of 1 and 2 %", default=None)
    meter: MeterConfig | None = option("what measures it; without one, what hangs on it beside our nodes is base_w", default=None)

    def problems(self) -> Iterator[str]:
        """What cannot be, each with its key."""
        if not self.rating_w > 0:
            yield f"rating_w: is {self.rating_w:g}, should be above 0"
        if not 0 < self.share <= 1:
            yield f"share: is {self.share:g}, should be above 0 and at most 1"
        if self.base_w < 0 or self.ceiling_ratio < 1:
            yield "base_w: at least 0; ceiling_ratio: at least 1"
        if self.dead_nodes is not None and self.dead_nodes < 0:
            yield f"dead_nodes: is {self.dead_nodes}, should be at least 0"
        if self.kind not in KINDS:
            yield f"kind: is {self.kind!r}, should be {', '.join(KINDS)}"
        if self.curve not in ("hot", "cold"):
            yield f"curve: is {self.curve!r}, should be hot or cold"
        try:
            expand(self.nodes)
        except BadHostlist as why:
            yield f"nodes: {why}"
        yield from self._table()

    def _table(self) -> Iterator[str]:
        if any(len(point) != 2 or point[0] <= 1 or point[1] <= 0 for point in self.trip):
            yield "trip: each point should be [load / rating above 1, seconds above 0]"
        elif any(after[0] <= before[0] or after[1] > before[1] for before, after in pairwise(self.trip)):
            yield "trip: points should rise in load and fall in seconds"
        elif self.kind in ("timed", "contract") and not self.trip:
            yield f"trip: is missing; a {self.kind} limit needs its table"
        elif self.kind == "hard" and self.trip:
            yield "trip: a hard limit has none"

    @property
    def trip_heat(self) -> float:
        """K of `breaker`, the lowest over the table's points: no point of it is passed."""
        if self.kind == "timed":
            return 1.0
        if self.kind == "hard":
            return math.inf  # its ceiling is what holds it
        if self.kind == "contract":
            return min((overload - 1) * seconds for overload, seconds in self.trip)
        if not self.trip:
            return HOT_TRIP_HEAT_S
        heat = min((overload * overload - 1) * seconds for overload, seconds in self.trip)
        return heat / COLD_TO_HOT if self.curve == "cold" else heat

    @property
    def ceiling(self) -> float:
        """Load ratio that is never passed."""
        if self.kind == "hard":
            return 1.0
        return min(self.ceiling_ratio, self.trip[-1][0]) if self.kind == "timed" else self.ceiling_ratio
