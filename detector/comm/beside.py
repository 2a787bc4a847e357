"""One beside the others: medians along an axis in which some values are missing."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

NORMAL: Final = 1.4826  # a normal distribution's standard deviation, in median absolute deviations
MEDIAN_ERROR: Final = 1.2533  # of a median of normal values, in errors of their mean


def median(values: Floats, axis: int = -1) -> Floats:
    """Of what is not NaN; NaN where nothing is."""
    if not np.isnan(values).any():
        return np.asarray(np.median(values, axis=axis))
    ordered = np.sort(values, axis=axis)  # NaN comes last
    many = (~np.isnan(ordered)).sum(axis=axis, keepdims=True)
    low, high = (np.take_along_axis(ordered, place, axis) for place in (np.maximum(many - 1, 0) // 2, many // 2))
    return np.asarray(((low + high) / 2).squeeze(axis))


def of_others(values: Floats) -> Floats:
    """For each along the last axis the median of all others; NaN where there are none."""
    ordered = np.sort(values, axis=-1)
    others = (~np.isnan(ordered)).sum(axis=-1, keepdims=True) - 1
    found = np.zeros_like(values)
    for place in ((others - 1) // 2, others // 2):
        here = np.clip(place, 0, values.shape[-1] - 1)
        at, after = np.take_along_axis(ordered, here, -1), np.take_along_axis(ordered, np.minimum(here + 1, values.shape[-1] - 1), -1)
        found += np.where(values <= at, after, at) / 2
    return np.where((others < 1) | np.isnan(values), np.nan, found)


def spread(values: Floats, axis: int = -1) -> Floats:
    """Standard deviation, as if the middle half were normal."""
    return np.asarray(NORMAL * median(np.abs(values - np.expand_dims(median(values, axis), axis)), axis))
