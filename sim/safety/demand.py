"""What the loads want: jobs over several nodes that start, end and swing together. Deterministic for one chance."""

from typing import Final

import numpy as np

from gpuwarden.sim.safety.cards import IDLE_SHARE, Cards

STAYS_S: Final = (2.0, 90.0)  # a phase of a job, its logarithm evenly spread
LEVELS: Final = (IDLE_SHARE, 0.45, 0.8, 1.05, 1.3)  # of the default limit; above 1 a card is held back even there
ODDS: Final = (0.15, 0.15, 0.2, 0.3, 0.2)
NODES_A_JOB: Final = 5


class Demand:
    """`parked`: nodes to which nobody gives work now."""

    def __init__(self, cards: Cards, chance: np.random.Generator) -> None:
        self._cards, self._chance = cards, chance
        count = len(cards.off)
        self.parked = np.zeros(count, bool)
        self._job = chance.integers(0, max(1, count // NODES_A_JOB), count)[cards.node_of]
        self._level = np.full(int(self._job.max()) + 1, IDLE_SHARE)
        self._until_s = np.zeros(len(self._level))
        self._next_s = 0.0  # the first of them

    def advance(self, now_s: float) -> None:
        if now_s < self._next_s:
            return
        for job in np.flatnonzero(now_s >= self._until_s).tolist():
            self._level[job] = self._chance.choice(LEVELS, p=ODDS)
            self._until_s[job] = now_s + float(np.exp(self._chance.uniform(*np.log(STAYS_S))))
        self._next_s = float(self._until_s.min())
        self._cards.demand_w = self._level[self._job] * self._cards.default_w
        self._park()

    def _park(self) -> None:
        if self.parked.any():
            idle = self.parked[self._cards.node_of]
            self._cards.demand_w = np.where(idle, IDLE_SHARE * self._cards.default_w, self._cards.demand_w)

    def park(self, node: int, parked: bool) -> None:
        self.parked[node] = parked
        self._cards.demand_w = self._level[self._job] * self._cards.default_w
        self._park()
