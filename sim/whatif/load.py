"""What a row would want with servers added: each does what a recorded one did.

Nodes that rise together belong to one job, so an added one does at every instant what its model did then. Nodes that rise independently
would not, as twins, fall under the law of large numbers: there an added one lags its model by some minutes, the hour of the day stays.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gpuwarden.sim.whatif.recorded import Recorded

Values = NDArray[np.float64]

LAG_S: Final = (120.0, 1800.0)


@dataclass(frozen=True, slots=True)
class Load:
    """W at each step. `idle_w`: what no clock lock takes away; `high_w`, `low_w`: what the servers of a priority draw above it."""

    step_s: float
    idle_w: float
    high_w: Values
    low_w: Values


class Row:
    """Recorded servers, `low_ratio` of them of the low priority, whichever chance picks; and the servers that would be added, in order."""

    def __init__(self, recorded: Recorded, low_ratio: float, most_added: int, chance: np.random.Generator) -> None:
        self._recorded, power_w = recorded, recorded.power_w
        count = len(recorded.nodes)
        order = chance.permutation(count)
        self._low = np.zeros(count, np.bool_)
        self._low[order[: round(low_ratio * count)]] = True
        self._models = chance.integers(count, size=most_added)
        self._lags = self._lag_steps(most_added, chance)
        self._idle_w = power_w.min(axis=1).astype(np.float64)
        self._sums = [self._above(self._low == which) for which in (False, True)]

    def with_added(self, added: int) -> Load:
        high_w, low_w = (made.copy() for made in self._sums)
        for model, lag in zip(self._models[:added], self._lags[:added], strict=True):
            (low_w if self._low[model] else high_w)[:] += np.roll(self._recorded.power_w[model], lag) - self._idle_w[model]
        idle_w = float(self._idle_w.sum() + self._idle_w[self._models[:added]].sum())
        return Load(self._recorded.step_s, idle_w, high_w, low_w)

    def _above(self, which: NDArray[np.bool_]) -> Values:
        made: Values = self._recorded.power_w[which].sum(axis=0, dtype=np.float64) - self._idle_w[which].sum()
        return made

    def _lag_steps(self, count: int, chance: np.random.Generator) -> NDArray[np.int64]:
        if self._recorded.swings_together:
            return np.zeros(count, np.int64)
        longest_s = min(LAG_S[1], self._recorded.duration_s / 2)
        lag_s = chance.uniform(min(LAG_S[0], longest_s), longest_s, count) * chance.choice((-1.0, 1.0), count)
        steps: NDArray[np.int64] = np.round(lag_s / self._recorded.step_s).astype(np.int64)
        return steps
