"""The median of the others of one's group."""

import numpy as np
from numpy.typing import NDArray

from gpuwarden.detector.health.scale import Array

Numbers = NDArray[np.intp]
Counts = NDArray[np.intp]


def others(values: Array, group: Numbers) -> tuple[Array, Counts]:
    """(median, of how many), both (rows, features), for each row over the other rows of its group; NaN where it has none, or none that tells.

    `group` (rows,) numbers the groups; below 0 a row has no group. What a row itself lacks has no median.
    """
    median, count = np.full(values.shape, np.nan), np.zeros(values.shape, np.intp)
    rows = np.flatnonzero(group >= 0)
    _, of, size = np.unique(group[rows], return_inverse=True, return_counts=True)
    order = np.argsort(of, kind="stable")
    rows, of = rows[order], of[order]
    place = np.arange(len(rows)) - (np.cumsum(size) - size)[of]
    width = 1 << np.ceil(np.log2(size)).astype(np.intp)  # groups of like size together: no large one blows up the small ones
    for wide in np.unique(width[size > 1]):
        mine = width[of] == wide
        _, number = np.unique(of[mine], return_inverse=True)
        at = rows[mine]
        grid = np.full((int(number.max()) + 1, int(wide), values.shape[1]), np.nan)
        grid[number, place[mine]] = values[at]
        median[at], count[at] = _without_each(grid, values[at], number)
    return median, count


def _without_each(grid: Array, values: Array, number: Numbers) -> tuple[Array, Counts]:
    """Of rows `values`, each in line `number` of the grid (groups, places, features)."""
    ordered = np.sort(grid, axis=1)  # NaN goes last
    others_ = (~np.isnan(grid)).sum(1) - 1
    last = grid.shape[1] - 1

    def at(rank: Counts) -> Array:
        """Of rank so much among the others: one further where the row itself stands before it."""
        rank = np.clip(rank, 0, last)
        low, high = (np.take_along_axis(ordered, one[:, None], 1)[:, 0][number] for one in (rank, np.minimum(rank + 1, last)))
        return np.where(values <= low, high, low)

    middle = (at((others_ - 1) // 2) + at(others_ // 2)) / 2
    known = (others_[number] > 0) & ~np.isnan(values)
    return np.where(known, middle, np.nan), np.where(known, others_[number], 0)
