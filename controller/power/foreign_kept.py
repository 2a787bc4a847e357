"""Foreign load that outlives this controller: what a meter has shown is not gone because nobody looks."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from gpuwarden.controller.power.meter import Meter

RISE_RATIO: Final = 0.01  # of the rating: kept with this much on top, so that not every step is written
FALL_RATIO: Final = 0.05


@dataclass(frozen=True, slots=True)
class LimitForeign:
    """What counts as foreign on a limit with a meter."""

    domain: str
    limit: str
    foreign_w: float


class ForeignKept:
    """What of one domain's foreign load is durable by now."""

    def __init__(self, domain: str, remembered: Sequence[LimitForeign]) -> None:
        self._domain = domain
        self._kept_w = {one.limit: one.foreign_w for one in remembered}

    def changes(self, meters: Mapping[str, Meter]) -> tuple[LimitForeign, ...]:
        """What must be kept before a grant leaves that rests on it."""
        return tuple(self._changes(meters))

    def _changes(self, meters: Mapping[str, Meter]) -> Iterator[LimitForeign]:
        for name, meter in meters.items():
            foreign_w, kept_w, rating_w = meter.foreign_w, self._kept_w.get(name, 0.0), meter.limit.rating_w
            over_w = RISE_RATIO * rating_w if foreign_w > 0.0 else 0.0
            if foreign_w > kept_w or kept_w > foreign_w + over_w + FALL_RATIO * rating_w or (kept_w > 0.0 == foreign_w):
                self._kept_w[name] = foreign_w + over_w
                yield LimitForeign(self._domain, name, self._kept_w[name])
