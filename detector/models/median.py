"""What is usual among the devices of one node."""

import numpy as np
from numpy.typing import NDArray

from gpuwarden.detector.node import Slots
from gpuwarden.detector.robust import median

Block = NDArray[np.float32]


def median_of_members(values: Block, members: Slots) -> tuple[Block, NDArray[np.intp]]:
    """(rows, features): for each row the median over the rows of its member, and how many values that rests on.

    Rows of a member stand together.
    """
    _, first, group = np.unique(members, return_index=True, return_inverse=True)
    place = np.arange(len(members)) - first[group]
    grid = np.full((len(first), int(place.max()) + 1, values.shape[1]), np.nan, np.float32)
    grid[group, place] = values
    return median(grid, 1)[group], (~np.isnan(grid)).sum(1)[group]
