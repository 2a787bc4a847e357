"""One score a node and row, from deviations and residuals, and the metrics that carry it."""

from collections.abc import Sequence
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from gpuwarden.detector.health.scale import Array

Real = TypeVar("Real", bound=np.floating[Any])

CAP: Final = 100.0  # a square: no single metric outvotes ten others that are as far off as it
SMOOTH_S: Final = 300.0
HALF_LIFE_S: Final = 1800.0


def parts(deviations: NDArray[Real], residuals: NDArray[Real]) -> NDArray[Real]:
    """What each metric carries, (nodes, rows, metrics) or any other shape: both squares, capped. NaN where missing."""
    squares: NDArray[Real] = np.minimum(deviations**2, CAP) + np.minimum(residuals**2, CAP)
    return squares


def raw(carried: Array) -> Array:
    """(nodes, rows): mean over the metrics that are there; NaN where none is."""
    known = ~np.isnan(carried)
    count = known.sum(2)
    return np.where(count > 0, np.where(known, carried, 0).sum(2) / np.maximum(count, 1), np.nan)


def held(score: Array, step_s: float) -> Array:
    """Mean of the last SMOOTH_S, then the largest so far, which halves every HALF_LIFE_S: one finding for one fault that flickers."""
    smooth = smoothed(score, max(1, round(SMOOTH_S / step_s)))
    keep = 0.5 ** (step_s / HALF_LIFE_S)
    largest, out = np.zeros(len(score)), np.empty_like(smooth)
    for row in range(smooth.shape[1]):
        largest = np.fmax(keep * largest, smooth[:, row])
        out[:, row] = largest
    return out


def smoothed(score: Array, rows: int) -> Array:
    """Mean of the known among the last so many rows, of (nodes, rows); NaN where there is none."""
    known = ~np.isnan(score)
    total, count = (np.cumsum(np.pad(a, ((0, 0), (rows, 0))), 1) for a in (np.where(known, score, 0), known.astype(float)))
    total, count = total[:, rows:] - total[:, :-rows], count[:, rows:] - count[:, :-rows]
    return np.where(count > 0.5, total / np.maximum(count, 1), np.nan)


def guilty(carried: Array, names: Sequence[str], most: int) -> list[tuple[str, float]]:
    """The metrics (metrics,) that carry most, with their share of the whole; first the worst."""
    known = np.nan_to_num(carried)
    total = known.sum()
    return [(names[i], float(known[i] / total)) for i in np.argsort(-known, kind="stable")[:most] if known[i] > 0]
