"""What was learned of many nodes, stacked: arrays have a leading axis of nodes, so that all are scored at once.

K features, of which V have ever varied at any node. A constant one is foretold by nothing, and foretells nothing: its residual is its deviation,
in LEAST_RESIDUAL. So the large arrays are of V only.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gpuwarden.detector.health.conditional import regressions, without
from gpuwarden.detector.health.scale import Array

Block = NDArray[np.float32]
Places = NDArray[np.intp]

KIND: Final = "unlike-itself"
_AT_ONCE: Final = 16  # nodes whose matrices are inverted together


@dataclass(frozen=True, slots=True)
class Learned:
    """`mean`, `deviation` (nodes, K), NaN where a node never told a feature; `covariance` (nodes, 3V (3V + 1) / 2), the upper triangle."""

    nodes: tuple[str, ...]
    cards: tuple[tuple[str, ...], ...]  # of each node, in the order of their columns
    columns: Places  # (K,) of a block
    varying: Places  # (V,) among the K
    mean: Block
    deviation: Block
    covariance: Block
    weights: Block  # (nodes, 3V, V): from deviations, now and before, to residuals
    spread: Block  # (nodes, V): how many deviations one of a residual is
    threshold: Block  # (nodes,)

    @property
    def size_bytes(self) -> int:
        return sum(array.nbytes for array in (self.mean, self.deviation, self.covariance, self.weights, self.spread, self.threshold))


def weighed(covariance: Block, varying: int) -> tuple[Block, Block]:
    """(weights, spread) of packed covariances (nodes, any)."""
    weights = np.empty((len(covariance), 3 * varying, varying), np.float32)
    spread = np.empty((len(covariance), varying), np.float32)
    for first in range(0, len(covariance), _AT_ONCE):
        some = slice(first, first + _AT_ONCE)
        weights[some], spread[some] = regressions(whole(covariance[some], 3 * varying), varying)
    return weights, spread


def repaired(learned: Learned, row: int, gone: NDArray[np.bool_]) -> tuple[Block, Block]:
    """(3V, V) and (V,): the weights and spread of one node without what is gone, (3V,)."""
    varying = len(learned.varying)
    weights, spread = regressions(without(whole(learned.covariance[row : row + 1], 3 * varying)[0], gone)[None], varying)
    return weights[0].astype(np.float32), spread[0].astype(np.float32)


def packed(covariance: Array) -> Block:
    """The upper triangles of (nodes, all, all)."""
    return covariance[:, *np.triu_indices(covariance.shape[1])].astype(np.float32)


def whole(triangles: Block, width: int) -> Array:
    """(nodes, width, width) of their upper triangles."""
    matrices = np.zeros((len(triangles), width, width))
    above, right = np.triu_indices(width)
    matrices[:, above, right] = triangles
    matrices[:, right, above] = triangles
    return matrices
