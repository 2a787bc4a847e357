"""How long a wait may be in this job before it is taken for a hang: learned from the job's own waits.

A checkpoint, an evaluation or an uneven step makes all others wait for one, again and again. What has happened twice is the job's way; what happened once may
have been a fault. So it is twice the second longest of the waits that ended by themselves, in this hour and the one before, and never less than LEAST_S.
"""

from dataclasses import dataclass, field
from typing import Final

LEAST_S: Final = 15.0
START_S: Final = 120.0  # until the job has begun: what comes first is waited for by all
MOST_S: Final = 600.0
BEGUN: Final = 20  # operations that were done
LONG_S: Final = 2.0  # shorter waits change nothing
ONE_S: Final = 10.0  # waits that end within so long of each other are one
PERIODS: Final = 3.0  # times between two operations of a group
HOUR_S: Final = 3600.0
WEIGHT: Final = 0.1


@dataclass(slots=True)
class Patience:
    """`_waits`: when each ended and how long it was, of this hour and the one before, the longest few."""

    _operations: int = 0
    _period_s: float = 0.0
    _waits: list[tuple[float, float]] = field(default_factory=list)

    def done(self, at_s: float, oldest_s: float, operations: int, elapsed_s: float) -> None:
        """Operations of a group were done, of which the oldest had been pending for so long when it was last seen, `elapsed_s` ago."""
        self._operations += operations
        period_s = elapsed_s / operations
        self._period_s = period_s if not self._period_s else (1 - WEIGHT) * self._period_s + WEIGHT * period_s
        self.waited(at_s, oldest_s)

    def waited(self, ended_s: float, wait_s: float) -> None:
        """For so long, and it ended by itself."""
        if wait_s < LONG_S:
            return
        others = list[tuple[float, float]]()
        for other_ended_s, other_s in self._waits:
            if abs(other_ended_s - ended_s) <= ONE_S:
                wait_s = max(wait_s, other_s)
            elif ended_s - other_ended_s < 2 * HOUR_S:
                others.append((other_ended_s, other_s))
        self._waits = sorted([*others, (ended_s, wait_s)], key=lambda one: -one[1])[:3]

    @property
    def patience_s(self) -> float:
        if self._operations < BEGUN:
            return START_S
        twice_s = 2 * self._waits[1][1] if len(self._waits) > 1 else 0.0
        return min(MOST_S, max(LEAST_S, twice_s, PERIODS * self._period_s))
