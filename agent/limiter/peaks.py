"""The highest power since some moment: of a time that a controller which starts anew has not seen."""

import math
from collections import deque


class Peaks:
    """Looks back `kept_s`. Of all readings those are kept that are higher than whatever came after: mostly a handful, at worst all."""

    def __init__(self, kept_s: float) -> None:
        self._kept_s = kept_s
        self._falling: deque[tuple[float, float]] = deque()

    def read(self, now_s: float, power_w: float) -> None:
        """NaN, where a card did not answer, may be anything."""
        peak_w = math.inf if math.isnan(power_w) else power_w
        while self._falling and self._falling[-1][1] <= peak_w:
            self._falling.pop()
        self._falling.append((now_s, peak_w))
        while self._falling[0][0] < now_s - self._kept_s:
            self._falling.popleft()

    def since_w(self, stamp_s: float) -> float:
        """The highest reading since a stamp that is no longer ago than is kept; infinite where there is none."""
        return next((power_w for read_s, power_w in self._falling if read_s >= stamp_s), math.inf)
