"""What is said of a room, by row: ours, its members alone, and what there was before them. Flags are (nodes, minutes)."""

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from health_room import Watched
from numpy.typing import NDArray

from gpuwarden.detector.health.budget import HISTORY_DAYS, threshold
from gpuwarden.detector.health.fused import MEMBERS
from gpuwarden.detector.health.rolling import WINDOW_DAYS, scored
from gpuwarden.detector.health.scale import Array, floors, scale
from gpuwarden.detector.health.score import held

SIZES: Final = (1, 2, 4, 8)  # of jobs
DAY: Final = 1440
FIRST: Final = 3 * DAY + 600  # the minute in which something goes amiss
LASTS: Final = 480
BUDGET: Final = 0.1  # findings a node and day
STEP_S: Final = 60.0
MEAN: Final = 5  # minutes
AT_ONCE: Final = 8  # nodes, for memory
Flags = NDArray[np.bool_]
Matrix = NDArray[np.float32]
OURS: Final[Mapping[str, tuple[int, ...]]] = {
    "fused": tuple(range(len(MEMBERS))), "peers alone": (0, 1), "cards alone": (2,), "laws alone": (3,),
}


def ours(watched: Watched, members: tuple[int, ...], budget: float) -> Flags:
    """As `fused.judged` says it of these members."""
    rates = watched.rates[:, :, members]
    best = np.where(np.isnan(rates), np.inf, rates).min(2)
    return np.asarray(len(members) * best < budget)


class Before:
    """A score of the node by itself, on means of five minutes, with a threshold of its own: one for each node, fixed where the branches begin."""

    def __init__(self, score: Callable[[Array], Array], history: Matrix, nodes: NDArray[np.intp], budget: float) -> None:
        """`score`: of (nodes, rows, columns), (nodes, rows). `history` (all nodes, minutes, columns) ends in the middle of a day."""
        self._score, self._nodes = score, nodes
        self._history = _means(history[nodes])
        recent = np.concatenate([score(some) for some in self._some(self._history)])[:, -HISTORY_DAYS * DAY // MEAN :]
        self.levels = np.array([threshold(one[None], MEAN * STEP_S, budget) for one in recent])

    def flags(self, values: Matrix) -> Flags:
        """(nodes given, minutes) of what came after the history, of all nodes."""
        new = _means(values[self._nodes])
        first = max(0, self._history.shape[1] // (DAY // MEAN) - WINDOW_DAYS) * (DAY // MEAN)
        last = np.concatenate((self._history[:, first:], new), 1)
        scores = np.concatenate([self._score(some) for some in self._some(last)])[:, -new.shape[1] :]
        return np.repeat(scores > self.levels[:, None], MEAN, 1)

    def _some(self, rows: Array) -> list[Array]:
        return np.array_split(rows, max(1, len(rows) // AT_ONCE))


def _means(values: Matrix) -> Array:
    return values.reshape(len(values), -1, MEAN, values.shape[2]).mean(2, dtype=np.float64)


def own(values: Array) -> Array:
    return scored(values, MEAN * STEP_S, floors(values[:, : WINDOW_DAYS * DAY // MEAN])).score


def mean_z2_refit(values: Array) -> Array:
    """The mean of squared deviations, refit every day on the days before, and held as ours is."""
    day = DAY // MEAN
    floor, out = floors(values[:, : WINDOW_DAYS * day]), np.full(values.shape[:2], np.nan)
    for start in range(day, values.shape[1], day):
        window = scale(values[:, max(0, start - WINDOW_DAYS * day) : start], floor)
        out[:, start : start + day] = (window.deviations(values[:, start : start + day]) ** 2).mean(2)
    return held(out, MEAN * STEP_S)
