"""The law that the largest of many scores follow (Gumbel; Coles, An Introduction to Statistical Modeling of Extreme Values, 2001, chapter 3)."""

from typing import Final

import numpy as np

from gpuwarden.detector.health.scale import Array

LEAST_MAXIMA: Final = 40  # before anything follows from them
_LEAST_SCALE: Final = 1e-3


def gumbel(maxima: Array, low: float = 0.5, high: float = 0.9) -> tuple[float, float]:
    """(location, scale), by two quantiles of maxima (any,): a fault in history is a few of many, and bends neither."""
    of_low, of_high = np.quantile(maxima, (low, high))
    scale = max(float(of_high - of_low) / (_reduced(high) - _reduced(low)), _LEAST_SCALE)
    return float(of_high) - scale * _reduced(high), scale


def _reduced(share: float) -> float:
    return float(-np.log(-np.log(share)))
