"""A threshold without labels, for a budget of findings: the score that a healthy node reaches so often by the law of its largest ones (`extremes.py`).

As long as too few of these are known it is the lowest that history itself would have kept within the budget: split-conformal (Vovk et al., Algorithmic Learning in a
Random World, 2005), counted in what an operator sees, findings, instead of in rows.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gpuwarden.detector.health.extremes import LEAST_MAXIMA, gumbel, level_of
from gpuwarden.detector.health.scale import Array

DAY_S: Final = 86400.0
BLOCK_S: Final = 10_800.0  # six half-lives of a held score: what strikes once is in two maxima at most
JOIN_S: Final = 600.0  # above the threshold again within this is the same finding
TRIES: Final = 400
HISTORY_DAYS: Final = 7  # weekends are in it


def findings(above: NDArray[np.bool_], step_s: float) -> int:
    """How many separate ones there are in flags (nodes, rows)."""
    gap = max(1, math.ceil(JOIN_S / step_s) - 1)  # rows, of silence, that still join
    rows = np.pad(above, ((0, 0), (gap, 0)))
    recent = np.cumsum(rows, 1)
    quiet: NDArray[np.bool_] = recent[:, gap - 1 : -1] - np.pad(recent, ((0, 0), (1, 0)))[:, : -gap - 1] == 0
    return int((above & quiet).sum())


def threshold(score: Array, step_s: float, per_node_day: float) -> float:
    """Of scores (nodes, rows) that no fit has seen; NaN is not counted. Infinite where there is no history at all."""
    largest = _largest(score, max(1, round(BLOCK_S / step_s)))
    if len(largest) < LEAST_MAXIMA:
        return _lowest_kept(score, step_s, per_node_day)
    location, scale = gumbel(largest)
    return location + scale * level_of(per_node_day * BLOCK_S / DAY_S, len(largest))


def _largest(score: Array, rows: int) -> Array:
    """Of each block of so many rows, the newest last, in which anything is known."""
    blocks = score.shape[1] // rows
    newest = score[:, score.shape[1] - blocks * rows :].reshape(len(score), blocks, rows)
    largest: Array = np.fmax.reduce(newest, axis=2, initial=-np.inf)
    return largest[np.isfinite(largest)]


def _lowest_kept(score: Array, step_s: float, per_node_day: float) -> float:
    """That history itself would have kept within the budget."""
    known = ~np.isnan(score)
    if not known.any():
        return float("inf")
    allowed = per_node_day * known.sum() * step_s / DAY_S
    ranked = np.sort(score[known])[::-1]
    tried = np.unique(np.geomspace(1, len(ranked), TRIES).astype(np.intp)) - 1
    lowest = float(ranked[0])
    for level in ranked[tried]:
        if findings(score > level, step_s) > allowed:
            break
        lowest = float(level)
    return lowest


def daily(score: Array, step_s: float, per_node_day: float) -> Array:
    """Thresholds (nodes, rows) for scores (nodes, rows): each day's from the node's own HISTORY_DAYS before it, so it follows drift."""
    day = round(DAY_S / step_s)
    levels = np.full_like(score, np.inf)
    for start in range(day, score.shape[1], day):
        recent = score[:, max(0, start - HISTORY_DAYS * day) : start]
        levels[:, start : start + day] = [[threshold(one[None], step_s, per_node_day)] for one in recent]
    return levels
