"""One limit's meter: what of its readings our nodes' sensors and the declared base leave unexplained.

surplus = reading - the highest sum of our nodes that the reading may tell of - declared base (`allocator`, "Meter").
"""

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from gpuwarden.controller.power.limit import LimitConfig
from gpuwarden.controller.power.meter_config import MeterConfig

GIVE_BACK_PER_S: Final = 0.001
"""Of the rating: what was taken comes back no faster, so that a load which comes and goes by minutes moves the grants once."""
MOST_PENDING: Final = 8
COMPARED: Final = 30  # readings, of which the mean tells by how much sensors overstate


@dataclass(slots=True)
class Reading:
    """`told_s`: of what moment at the latest. `surplus_w`: as far as our sums of that moment are known."""

    told_s: float
    power_w: float
    surplus_w: float


@dataclass(slots=True)
class Meter:
    """`base_w`: what else hangs on the limit, and on those below it, as declared. Times are the controller's monotonic clock."""

    limit: LimitConfig
    config: MeterConfig
    base_w: float
    power_w: float = math.nan
    """The newest reading, of `told_s`."""
    told_s: float = -math.inf
    heard_s: float = -math.inf
    surplus_w: float = math.nan
    """Of the newest reading that our sums are complete for; below 0 where it shows less than is declared."""
    ours_w: float = math.nan
    """Those sums."""
    lacks_w: float = 0.0
    """By how much that reading is below what the GPUs alone draw: then it, its limit's nodes or their sensors are wrong."""
    failure: str = ""
    """Why it cannot be read now."""
    failures: int = 0
    pending: deque[Reading] = field(default_factory=deque)
    _held_w: float = 0.0
    _exceeds_w: deque[float] = field(default_factory=lambda: deque(maxlen=COMPARED))
    """By how much our nodes, at the most that their sensors meant in the second of a reading, and the declared base exceeded it."""
    _overstated_w: float = 0.0
    _error_w: float = 0.0
    _settled_s: float = -math.inf

    @property
    def foreign_w(self) -> float:
        """Taken from the grants: at once, and given back slowly. A meter that falls silent leaves it as it is."""
        return max([self._held_w, *(reading.surplus_w for reading in self.pending)])

    def overstated_w(self, now_s: float) -> float:
        """By how much the most that sensors may mean exceeds what it shows: the mean of the last readings, and no more than the newest one bears
        out, so that foreign load is in the sums at once. Nothing rests on it that must hold."""
        return 0.0 if self.silent(now_s) else max(0.0, min(self._overstated_w, self._error_w - self.surplus_w))

    def remember(self, foreign_w: float) -> None:
        """As counted before this controller's time. No reading has settled since, so the next one gives nothing back."""
        self._held_w = foreign_w

    def silent(self, now_s: float) -> bool:
        return now_s - self.heard_s > self.config.stale_s

    def hear(self, now_s: float, reading: Reading) -> None:
        """A reading that is newer than all before it; `surplus_w` by what is known of our nodes yet."""
        self.power_w, self.told_s, self.heard_s, self.failure = reading.power_w, reading.told_s, now_s, ""
        self.pending.append(reading)

    def settle(self, reading: Reading, ours_w: float, gpus_w: float, most_w: float, error_w: float) -> None:
        """Our sums of the reading's moment are complete: at most `ours_w` by what sensors show, of which the GPUs alone at least `gpus_w`. `most_w`:
        the most that sensors meant in that very second, `error_w` of it for what they may be off; NaN where not all nodes told.

        A meter that shows too little has no say in giving back, nor has the time in which it was silent.
        """
        passed_s, self._settled_s = reading.told_s - self._settled_s, reading.told_s
        self.ours_w, self.surplus_w = ours_w, reading.power_w - ours_w - self.base_w
        self.lacks_w = max(0.0, gpus_w - reading.power_w)
        trusted = self.lacks_w == 0.0 and passed_s <= self.config.stale_s
        given_back_w = GIVE_BACK_PER_S * self.limit.rating_w * passed_s if trusted else 0.0
        self._held_w = max(0.0, self.surplus_w, self._held_w - given_back_w)
        if not math.isnan(most_w):
            self._error_w = error_w
            self._exceeds_w.append(most_w + self.base_w - reading.power_w)
            self._overstated_w = min(sum(self._exceeds_w) / len(self._exceeds_w), self._overstated_w + given_back_w)
