"""Time that a job has lost, in the four rows of C4's table, and when it crashes."""

import heapq
from dataclasses import dataclass, field
from random import Random
from typing import Final

from gpuwarden.sim.crashes.paper import MONTH_S

ROWS: Final = ("post_checkpoint", "detection", "diagnosis_isolation", "reinit")


@dataclass(slots=True)
class Lost:
    """Seconds by row, and what happened. `by_person`: crashes that a person had to end."""

    crashes: int = 0
    by_person: int = 0
    false_findings: int = 0
    false_drains: int = 0
    s: dict[str, float] = field(default_factory=lambda: dict.fromkeys(ROWS, 0.0))

    def add(self, row: str, begin_s: float, end_s: float) -> None:
        """What lies in the month."""
        self.s[row] += max(0.0, min(end_s, MONTH_S) - min(begin_s, MONTH_S))

    def percent(self, row: str) -> float:
        return 100 * self.s[row] / MONTH_S

    @property
    def total_percent(self) -> float:
        return sum(map(self.percent, ROWS))


@dataclass(slots=True)
class Training:
    """A job that saves where it is each `interval_s` of training; `from_s`: when it began to train, or to train again."""

    interval_s: float
    from_s: float = 0.0

    def undone_s(self, now_s: float) -> float:
        """What it has done since its last checkpoint."""
        return (now_s - self.from_s) % self.interval_s


class Instants:
    """So many in the month, at random. One that falls where the job does not train is drawn anew from what is left of the month."""

    def __init__(self, count: int, chance: Random) -> None:
        self._chance = chance
        self._heap = [chance.uniform(0.0, MONTH_S) for _ in range(count)]
        heapq.heapify(self._heap)

    def next_s(self, now_s: float) -> float:
        """The first of those after `now_s`; infinite if there is none."""
        while self._heap and self._heap[0] <= now_s < MONTH_S:
            heapq.heapreplace(self._heap, self._chance.uniform(now_s, MONTH_S))
        return self._heap[0] if self._heap and now_s < MONTH_S else float("inf")

    def take(self) -> None:
        """The first has come."""
        heapq.heappop(self._heap)
