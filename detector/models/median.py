"""Medians that pass over NaN, along one axis. numpy's own nanmedian is many times slower on short axes."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpuwarden.detector.node import Slots

Block = NDArray[np.float32]


def median(values: Block, axis: int) -> Block:
    """NaN where there is no value at all. The axis is gone from the result."""
    ordered = np.sort(values, axis=axis)  # NaN goes last
    count = np.expand_dims((~np.isnan(values)).sum(axis), axis)
    low = np.take_along_axis(ordered, np.maximum(count - 1, 0) // 2, axis)
    high = np.take_along_axis(ordered, np.minimum(count // 2, values.shape[axis] - 1), axis)
    middle: Any = np.where(count > 0, (low + high) / 2, np.nan).squeeze(axis)
    return np.asarray(middle, np.float32)


def median_of_members(values: Block, members: Slots) -> tuple[Block, NDArray[np.intp]]:
    """(rows, features): for each row the median over the rows of its member, and how many values that rests on.

    Rows of a member stand together.
    """
    _, first, group = np.unique(members, return_index=True, return_inverse=True)
    place = np.arange(len(members)) - first[group]
    grid = np.full((len(first), int(place.max()) + 1, values.shape[1]), np.nan, np.float32)
    grid[group, place] = values
    return median(grid, 1)[group], (~np.isnan(grid)).sum(1)[group]
