"""A machine's own clock: begins anywhere, runs a little fast or slow, never goes back."""

from random import Random
from typing import Final

DRIFT: Final = 0.0009  # below what the controller allows for, 0.001


class Clock:
    """`local_s` of the true time; `true_s` of its own."""

    def __init__(self, chance: Random, now_s: float) -> None:
        self._since_s, self._local_s = now_s, chance.uniform(1.0, 1e6)
        self._rate = 1.0 + chance.uniform(-DRIFT, DRIFT)

    def local_s(self, true_s: float) -> float:
        return self._local_s + (true_s - self._since_s) * self._rate

    def true_s(self, local_s: float) -> float:
        return self._since_s + (local_s - self._local_s) / self._rate

    def skew(self, rate: float, now_s: float) -> None:
        """From now on it runs at this rate."""
        self._local_s, self._since_s, self._rate = self.local_s(now_s), now_s, rate
