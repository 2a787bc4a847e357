"""How far a metric is from what the node's other metrics, and its past, say that it should be.

Under a normal distribution the mean of one variable given all others follows from a row of the inverse covariance (the precision
matrix; Lauritzen, Graphical Models, 1996, section 5.1), so one inversion a node gives the regressions of all metrics at once. A
ridge keeps it defined where metrics repeat each other.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from gpuwarden.detector.health.scale import Array

RIDGE: Final = 0.02  # of a metric's variance
LEAST_RESIDUAL: Final = 0.01  # deviations: what the others foretell to better than this is a copy


@dataclass(frozen=True, slots=True)
class Conditional:
    """`weights` (nodes, metrics + past, metrics) turn deviations into residuals, each in its own deviations over the window."""

    weights: Array

    def residuals(self, deviations: Array, before: Array) -> Array:
        """(nodes, rows, metrics). A missing value is taken at its mean where others lean on it; its own residual is NaN."""
        seen = np.nan_to_num(np.concatenate((deviations, before), 2))
        residuals: Array = np.where(np.isnan(deviations), np.nan, seen @ self.weights)
        return residuals


def conditional(deviations: Array, before: Array) -> Conditional:
    """Fitted on deviations (nodes, rows, metrics) and the deviations of their past (nodes, rows, any)."""
    metrics = deviations.shape[2]
    seen = np.nan_to_num(np.concatenate((deviations, before), 2))
    covariance = np.swapaxes(seen, 1, 2) @ seen / seen.shape[1] + RIDGE * np.eye(seen.shape[2])
    precision = np.linalg.inv(covariance)[:, :, :metrics]
    diagonal = np.diagonal(precision, axis1=1, axis2=2)[:, None]
    weights = precision / diagonal
    spread = np.sqrt(((seen @ weights) ** 2).mean(1, keepdims=True))
    return Conditional(weights / np.maximum(spread, LEAST_RESIDUAL))
