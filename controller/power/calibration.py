"""How far the sensors under a limit are off, learnt against its meter: a gain for each node, and what draws beside the GPUs.

reading = rest + sum over nodes of gain x (slope x share x what its GPUs' sensors show) + noise

Bayesian linear regression, one reading at a time (Rasmussen & Williams 2006, Gaussian Processes for Machine Learning, 2.1.1; with a rest that
may drift it is a Kalman filter): what the readings do not tell apart, such as nodes that always run alike, stays as uncertain as it was. A
sensor's gain is linear and off by some 5 %, random between boards; two loads would tell it, were there no noise.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gpuwarden.controller.power.level import Places, Watts

GAIN_SD: Final = 0.05  # of a board's sensor, before anything is known of it
REST_RATIO: Final = 0.3  # of what is declared beside the GPUs, as uncertain at the start
NOISE_RATIO: Final = 0.01  # of a reading: a meter's class, and readings that are not of one moment
DRIFT_RATIO: Final = 5e-5  # of the rating, a square root of a second: fans go up and down by minutes
JUMP_SDS: Final = 4.0  # beyond it the rest has changed, as by somebody who begins to draw
MOST_ALONE: Final = 16  # nodes of one limit that each have a gain; of more, all of a class have one
KNOWN_SD: Final = 0.01
SURE_SDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Gain:
    """True watts for one that the sensors of `of`, a node or a class of nodes, show."""

    of: str
    mean: float
    sd: float

    @property
    def known(self) -> bool:
        return self.sd <= KNOWN_SD

    @property
    def counts(self) -> float:
        """What a sum must take it for: at its worst where it surely reads low, else 1. One that reads high frees nothing."""
        return self.mean + SURE_SDS * self.sd if self.mean - SURE_SDS * self.sd > 1.0 else 1.0


class Calibration:
    """Of one limit. `weights`: share x slope of each of its `nodes`; `group`: which of `names` each belongs to."""

    def __init__(self, nodes: Places, weights: Watts, group: Places, names: Sequence[str], rest_w: float, rating_w: float) -> None:
        self.nodes, self.group = nodes, group
        self._weights, self._names = weights, tuple(names)
        self._drift_w, self._told_s = DRIFT_RATIO * rating_w, np.nan
        self._mean = np.array([rest_w, *np.ones(len(names))])
        self._cov = np.diag([max(REST_RATIO * rest_w, 0.01 * rating_w) ** 2, *np.full(len(names), GAIN_SD**2)])

    @property
    def rest_w(self) -> float:
        """What draws beside the GPUs."""
        return float(self._mean[0])

    @property
    def gains(self) -> list[Gain]:
        deviations = np.sqrt(np.diag(self._cov))
        return [
            Gain(name, mean, sd) for name, mean, sd in zip(self._names, self._mean[1:].tolist(), deviations[1:].tolist(), strict=True)
        ]

    def learn(self, told_s: float, power_w: float, gpus_w: Watts) -> None:
        """A reading, and what the sensors of its nodes showed then, one entry a node of ours."""
        if told_s > self._told_s:
            self._cov[0, 0] += self._drift_w**2 * (told_s - self._told_s)
        self._told_s = told_s
        seen: NDArray[np.float64] = np.array([1.0, *np.bincount(self.group, self._weights * gpus_w, len(self._names))])
        surprise_w = power_w - float(seen @ self._mean)
        variance = self._variance(seen, power_w)
        if surprise_w**2 > JUMP_SDS**2 * variance:
            self._cov[0, 0] += surprise_w**2
            variance = self._variance(seen, power_w)
        trust = self._cov @ seen / variance
        self._mean = self._mean + trust * surprise_w
        self._cov = self._cov - np.outer(trust, seen @ self._cov)

    def _variance(self, seen: NDArray[np.float64], power_w: float) -> float:
        return float(seen @ self._cov @ seen) + (NOISE_RATIO * power_w) ** 2
