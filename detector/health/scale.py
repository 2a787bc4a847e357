"""Each metric in its own deviations: (value - mean) / deviation over a window, with a floor under the deviation."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

FLOOR_RATIO: Final = 0.01  # of a metric's range, or of a constant's size: rounding is no fault
LEAST_FLOOR: Final = 1e-3  # of a metric that was always 0
CLIP: Final = 20.0  # deviations; beyond it a single value would carry the fit of a whole window


@dataclass(frozen=True, slots=True)
class Scale:
    """Arrays (nodes, 1, metrics), in the metrics' own units."""

    mean: Array
    deviation: Array

    def deviations(self, values: Array) -> Array:
        """Of values (nodes, rows, metrics); missing stays NaN."""
        scaled: Array = np.clip((values - self.mean) / self.deviation, -CLIP, CLIP)
        return scaled

    def of_past(self, before: Array) -> Array:
        """Of what health.past made of values: (nodes, rows, 2 x metrics)."""
        return np.concatenate([self.deviations(half) for half in np.split(before, 2, 2)], 2)


def floors(history: Array) -> Array:
    """The least that counts as one deviation: (nodes, 1, metrics) of history (nodes, rows, metrics)."""
    known = ~np.isnan(history)
    high = np.where(known, history, -np.inf).max(1, keepdims=True)
    low = np.where(known, history, np.inf).min(1, keepdims=True)
    seen = known.any(1, keepdims=True)
    high, low = np.where(seen, high, 0), np.where(seen, low, 0)
    constant = np.maximum(FLOOR_RATIO * np.abs(low), LEAST_FLOOR)
    return np.where(high > low, FLOOR_RATIO * (high - low), constant)


def scale(window: Array, floor: Array) -> Scale:
    """Of a window (nodes, rows, metrics). A metric of which it knows nothing says nothing: its deviations are NaN."""
    known = ~np.isnan(window)
    count = known.sum(1, keepdims=True)
    mean = np.where(known, window, 0).sum(1, keepdims=True) / np.maximum(count, 1)
    variance = (np.where(known, window - mean, 0) ** 2).sum(1, keepdims=True) / np.maximum(count, 1)
    return Scale(np.where(count > 0, mean, np.nan), np.maximum(np.sqrt(variance), floor))
