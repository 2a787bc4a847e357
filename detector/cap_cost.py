"""What a power limit costs in time: as measured on other people's work, from the least that was seen to the most.

Each curve is (limit as a share of the default, least, most time that the same work took more). Between points it is straight.
- V100 and A40: the power traces of Zeus (You et al., NSDI 2023), time per epoch against the highest limit, median of each data set;
  the data sets' least and most. MovieLens, which no limit slows, is left out.
- H200: MLPerf Inference v4.1, throughput of eight cards at 500, 450 and 350 W against 700 W; least and most of the benchmarks there.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
V100: Final = (
    (0.4, 0.112, 1.003), (0.5, 0.083, 0.531), (0.6, 0.041, 0.244), (0.7, 0.031, 0.119), (0.8, 0.023, 0.067), (0.9, 0.012, 0.025),
    (1.0, 0.0, 0.0),
)
A40: Final = (
    (1 / 3, 1.442, 3.004), (5 / 12, 0.371, 1.615), (0.5, 0.078, 0.742), (7 / 12, 0.020, 0.301), (2 / 3, 0.022, 0.108),
    (0.75, 0.007, 0.057), (5 / 6, 0.005, 0.026), (11 / 12, 0.001, 0.006), (1.0, 0.0, 0.0),
)
H200: Final = ((0.5, 0.538, 0.639), (0.643, 0.316, 0.316), (0.714, 0.205, 0.266), (1.0, 0.0, 0.0))
LOWEST: Final = 1 / 3
"""Below this share nothing was measured: what is told there is told of this share."""


class Lost(NamedTuple):
    """Share of the time that would have been saved without the limit, each (rows,): time x (1 - 1 / times as long)."""

    least: Values
    most: Values


def lost(limit_ratio: Values) -> Lost:
    """`limit_ratio` (rows,) is the limit in force as a share of the default, for work that this limit holds back; above 1 is 1."""
    curves = [np.array(curve) for curve in (V100, A40, H200)]
    least = np.min([np.interp(limit_ratio, curve[:, 0], curve[:, 1]) for curve in curves], axis=0)
    most = np.max([np.interp(limit_ratio, curve[:, 0], curve[:, 2]) for curve in curves], axis=0)
    return Lost(1 - 1 / (1 + least), 1 - 1 / (1 + most))
