"""What a detector could have learned of nodes, from numbers of a test's own; and a watch of the minutes that it makes of telemetry."""

from collections.abc import Sequence

import numpy as np
import pytest

from gpuwarden.detector.health.features import COLUMN_OF
from gpuwarden.detector.health.learned import Learned, packed, weighed
from gpuwarden.detector.health.nodes import Minutes, Places
from gpuwarden.detector.past.features import FEATURES
from gpuwarden.proto.decode import Matrix


def learned(
    nodes: Sequence[str], cards: Sequence[str], features: Sequence[str], mean: float = 0.0, deviation: float = 1.0, threshold: float = 20.0
) -> Learned:
    """Features that vary each by itself, alike at all nodes."""
    width, count = len(features), len(nodes)
    triangles = packed(np.tile(np.eye(3 * width), (count, 1, 1)))
    weights, spread = weighed(triangles, width)
    flat = np.ones((count, width), np.float32)
    columns = np.array([COLUMN_OF[name] for name in features], np.intp)
    return Learned(
        tuple(nodes), (tuple(cards),) * count, columns, np.arange(width), mean * flat, deviation * flat, triangles, weights, spread,
        np.full(count, threshold, np.float32),
    )  # fmt: skip


class Watched:
    """Every minute that `Minutes` gives out, by node and minute, while the test runs."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.made = dict[tuple[str, int], Matrix]()
        out = Minutes.out

        def watched(minutes: Minutes, place: Places, rows: Places) -> Matrix:
            made, names = out(minutes, place, rows), {row: name for name, row in minutes.row_of.items()}
            for row, values in zip(rows.tolist(), made, strict=True):
                self.made[names[row], int(minutes.closed[row])] = values.copy()
            return made

        patch.setattr(Minutes, "out", watched)

    def block(self, node: str, first: int, minutes: int) -> Matrix:
        """(minutes, FEATURES), NaN where there was none."""
        none = np.full(len(FEATURES), np.nan, np.float32)
        return np.stack([self.made.get((node, first + minute), none) for minute in range(minutes)])
