"""How far a metric is from what the node's other metrics, and its past, say that it should be.

Under a normal distribution the mean of one variable given all others follows from a row of the inverse covariance (the precision
matrix; Lauritzen, Graphical Models, 1996, section 5.1), so one inversion a node gives the regressions of all metrics at once. A
ridge keeps it defined where metrics repeat each other.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gpuwarden.detector.health.scale import Array

RIDGE: Final = 0.02  # of a metric's variance
LEAST_RESIDUAL: Final = 0.01  # deviations: what the others foretell to better than this is a copy


@dataclass(frozen=True, slots=True)
class Conditional:
    """`covariance` (nodes, all, all) of deviations, the metrics first and then their past; `weights` (nodes, all, metrics) as of `regressions`."""

    covariance: Array
    weights: Array

    def residuals(self, deviations: Array, before: Array) -> Array:
        """(nodes, rows, metrics), each in its own deviations over the window. NaN where missing; nothing leans on what is missing."""
        seen = np.concatenate((deviations, before), 2)
        missing = np.isnan(seen)
        seen = np.nan_to_num(seen)
        out: Array = seen @ self.weights
        for node in np.flatnonzero(missing.any((1, 2))):
            patterns, which = np.unique(missing[node], axis=0, return_inverse=True)
            for i, gone in enumerate(patterns):
                rows = which.ravel() == i
                out[node, rows] = seen[node, rows] @ regressions(without(self.covariance[node], gone)[None], deviations.shape[2])[0][0]
        return np.where(np.isnan(deviations), np.nan, out)


def conditional(deviations: Array, before: Array) -> Conditional:
    """Fitted on deviations (nodes, rows, metrics) and those of their past (nodes, rows, any); what is missing is taken at its mean."""
    both = covariance(deviations, before)
    return Conditional(both, regressions(both, deviations.shape[2])[0])


def covariance(deviations: Array, before: Array) -> Array:
    """(nodes, all, all) of the same."""
    seen = np.nan_to_num(np.concatenate((deviations, before), 2))
    return np.asarray(np.swapaxes(seen, 1, 2) @ seen / seen.shape[1])


def without(covariance: Array, gone: NDArray[np.bool_]) -> Array:
    """Of one node, (all, all): as if what is gone had nothing to do with the rest."""
    return np.where(gone[:, None] | gone, 0, covariance)


def regressions(covariance: Array, metrics: int) -> tuple[Array, Array]:
    """(nodes, all, metrics) that bring deviations to residuals, and (nodes, metrics): how many deviations one of a residual is."""
    precision = np.linalg.inv(covariance + RIDGE * np.eye(covariance.shape[1]))[:, :, :metrics]
    weights = precision / np.diagonal(precision, axis1=1, axis2=2)[:, None]
    spread = np.sqrt(np.maximum((weights * (covariance @ weights)).sum(1, keepdims=True), 0))
    spread = np.maximum(spread, LEAST_RESIDUAL)
    return weights / spread, spread[:, 0]
