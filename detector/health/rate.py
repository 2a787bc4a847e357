"""Scores as rates: how many findings a node-day of healthy time would bring at this score. So members add up, and a budget is a threshold.

The largest score of a node in six hours follows one law (`extremes.py`) for all nodes, since scores are in each node's own deviations. It is fitted to the median and the
upper decile of all nodes' last week, or to the upper decile and percentile where these are wider: a fault in history bends neither before one maximum in a hundred has one.
"""

from dataclasses import dataclass
from operator import itemgetter
from typing import Final

import numpy as np

from gpuwarden.detector.health.extremes import LEAST_MAXIMA, gumbel
from gpuwarden.detector.health.scale import Array

BLOCK_MINUTES: Final = 360
BLOCKS: Final = 28  # a week
FOR_PERCENTILE: Final = 1000
BLOCKS_A_DAY: Final = 1440 / BLOCK_MINUTES


@dataclass(slots=True)
class Maxima:
    """`kept` (BLOCKS, nodes, members) of six hours each, NaN where none; `newest` (nodes, members) of those that run. Mutable, arrays only."""

    kept: Array
    newest: Array
    middle: Array
    width: Array
    passed: int = 0


def no_maxima(nodes: int, members: int) -> Maxima:
    """To begin with."""
    return Maxima(np.full((BLOCKS, nodes, members), np.nan), np.full((nodes, members), np.nan), np.full(members, np.nan), np.full(members, np.nan))


def rates(maxima: Maxima, scores: Array) -> Array:
    """(nodes, members), findings a node-day, of scores (nodes, members), which are then learned. NaN where nothing is told or known yet."""
    with np.errstate(over="ignore"):
        rate: Array = BLOCKS_A_DAY * np.exp(-(scores - maxima.middle) / maxima.width)
    maxima.newest = np.fmax(maxima.newest, scores)
    maxima.passed += 1
    if maxima.passed % BLOCK_MINUTES == 0:
        maxima.kept[maxima.passed // BLOCK_MINUTES % BLOCKS] = maxima.newest
        maxima.newest = np.full_like(maxima.newest, np.nan)
        for member in range(scores.shape[1]):
            maxima.middle[member], maxima.width[member] = _gumbel(maxima.kept[:, :, member])
    return rate


def _gumbel(maxima: Array) -> tuple[float, float]:
    """(location, scale)."""
    known = maxima[~np.isnan(maxima)]
    if len(known) < LEAST_MAXIMA:
        return np.nan, np.nan
    law = gumbel(known)
    return max(law, gumbel(known, 0.9, 0.99), key=itemgetter(1)) if len(known) >= FOR_PERCENTILE else law
