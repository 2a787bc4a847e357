"""The law that the largest of many scores follow (Gumbel; Coles, An Introduction to Statistical Modeling of Extreme Values, 2001, chapter 3)."""

from typing import Final

import numpy as np

from gpuwarden.detector.health.scale import Array

LEAST_MAXIMA: Final = 40  # before anything follows from them
_LEAST_SCALE: Final = 1e-3
_AN_EXCESS: Final = 2.55  # maxima, whose two quantiles tell the scale as well as one excess would: the variance of the scale that they give, times their number, over its square


def gumbel(maxima: Array, low: float = 0.5, high: float = 0.9) -> tuple[float, float]:
    """(location, scale), by two quantiles of maxima (any,): a fault in history is a few of many, and bends neither."""
    of_low, of_high = np.quantile(maxima, (low, high))
    scale = max(float(of_high - of_low) / (_reduced(high) - _reduced(low)), _LEAST_SCALE)
    return float(of_high) - scale * _reduced(high), scale


def level_of(share: float, maxima: int) -> float:
    """What is passed in such a share of blocks of time, below 1, in scales above the location of a law that is known from so many maxima.

    Far out the law is exponential; an excess over a scale that is itself estimated has not an exponential's tail but Pareto's (a ratio of gamma variables, F with 2 and 2n degrees).
    """
    known = maxima / _AN_EXCESS
    return float(known * (share ** (-1 / known) - 1))


def _reduced(share: float) -> float:
    return float(-np.log(-np.log(share)))
