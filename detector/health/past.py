"""What a row could have been foretold from: the row before it, and the weighted mean of the rows before it."""

from typing import Final

import numpy as np

from gpuwarden.detector.health.scale import Array

HALF_LIFE_S: Final = 1800.0


def past(values: Array, step_s: float) -> Array:
    """(nodes, rows, 2 x metrics) of values (nodes, rows, metrics), each row from earlier rows alone.

    NaN until a metric was seen, and where it is missing: the past of what is gone foretells nothing.
    """
    keep = 0.5 ** (step_s / HALF_LIFE_S)
    last, mean = np.full_like(values, np.nan), np.full_like(values, np.nan)
    newest = np.full_like(values[:, 0], np.nan)
    smooth = newest.copy()
    for row in range(values.shape[1]):
        last[:, row], mean[:, row] = newest, smooth
        value = values[:, row]
        known = ~np.isnan(value)
        newest = np.where(known, value, newest)
        begun = np.where(np.isnan(smooth), value, keep * smooth + (1 - keep) * value)
        smooth = np.where(known, begun, smooth)
    before = np.concatenate((last, mean), 2)
    return np.where(np.isnan(np.tile(values, 2)), np.nan, before)
