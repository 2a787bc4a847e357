"""What a row draws, as its meter shows it and as its breaker feels it."""

from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from gpuwarden.sim import thermal

Values = NDArray[np.float64]

STEP_S: Final = 0.25  # the meter shows the mean of the last so many seconds; the breaker is judged in such steps
TRIP_S: Final = 11.0  # K from hot, which is how a domain counts by default: a row that is filled is never cold


class Drawing(Protocol):
    """`step_s`, `step_w`: when its power changed and by how much, in order of time."""

    step_s: list[float]
    step_w: list[float]

    @property
    def watts(self) -> Values:
        """Of each server, now."""
        ...


class Meter:
    """`scale`: share of the budget for each W of the servers. `fold` now and then, and at the end: until then every step of the power is kept."""

    def __init__(self, servers: Drawing, scale: float) -> None:
        self._servers, self._scale = servers, scale
        self._foreign_w = 0.0
        self._began_s, self._began_w = 0.0, float(servers.watts.sum())
        self._seen, self._seen_w, self._heat = 0, self._began_w, 0.0
        self.over_rating_s = 0.0
        self.trips = 0

    def read(self, now_s: float) -> float:
        """Load ratio over the last STEP_S."""
        step_s, step_w = self._servers.step_s, self._servers.step_w
        self._seen_w += sum(step_w[self._seen :])
        self._seen = len(step_w)
        mean_w, begin_s, place = self._seen_w, now_s - STEP_S, self._seen - 1
        while place >= 0 and step_s[place] > begin_s:
            mean_w -= step_w[place] * (step_s[place] - begin_s) / STEP_S
            place -= 1
        return self._scale * mean_w

    def carry(self, now_s: float, foreign_w: float) -> None:
        """What else it carries, from now on."""
        self._servers.step_s.append(now_s)
        self._servers.step_w.append(foreign_w - self._foreign_w)
        self._foreign_w = foreign_w

    def fold(self, now_s: float) -> None:
        """Judges what has passed since the last one, and forgets it."""
        count = round((now_s - self._began_s) / STEP_S)
        at = (np.array(self._servers.step_s) - self._began_s) / STEP_S
        bins, by_w = np.minimum(at.astype(np.int64), count - 1), np.array(self._servers.step_w)
        within = np.bincount(bins, by_w * (bins + 1 - at), count)
        before = np.cumsum(np.bincount(bins + 1, by_w, count + 1))[:count]
        self._judge((self._scale * (self._began_w + before + within)).astype(np.float64))
        self._servers.step_s.clear()
        self._servers.step_w.clear()
        self._began_s, self._began_w = now_s, float(self._servers.watts.sum()) + self._foreign_w
        self._seen, self._seen_w = 0, self._began_w

    def _judge(self, loads: Values) -> None:
        self.over_rating_s += STEP_S * float((loads > 1.0).sum())
        if not self._heat and loads.max() <= 1.0:
            return
        for load in loads.tolist():
            self._heat = thermal.after(self._heat, load, STEP_S)
            if self._heat >= TRIP_S:
                self.trips, self._heat = self.trips + 1, 0.0
