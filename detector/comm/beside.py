"""One beside the others, some of which may be missing."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MEDIAN_ERROR: Final = 1.2533  # of a median of normal values, in errors of their mean


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
