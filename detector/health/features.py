"""What is learned of a node's minutes, and which minutes say nothing of its health because our own caps held it."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from gpuwarden.detector.past.features import CAPPED, CARDS, FEATURES
from gpuwarden.proto.decode import Matrix

SETTLE_MINUTES: Final = 5  # after a cap: temperatures have a time constant of a minute or two
LEAST_HELD: Final = 0.01  # of the minute, that a card's limit slows it
_THROTTLED: Final = "gpu_throttle_power_seconds_total"
_LIMITS: Final = frozenset({CAPPED, "gpu_power_limit_requested_watts", "gpu_power_limit_enforced_watts"})

LEARNED: Final = np.array([column for column, feature in enumerate(FEATURES) if feature.metric.name not in _LIMITS], np.intp)
"""Columns of a block. Limits are none of them: it is we who set them, and the limiter says it when somebody else does."""

COLUMN_OF: Final = {feature.name: column for column, feature in enumerate(FEATURES)}


def _of_cards(metric: str) -> list[int]:
    return [COLUMN_OF[f"{metric}[{card}]"] for card in range(CARDS)]


_CAPPED_AT, _THROTTLED_AT = _of_cards(CAPPED), _of_cards(_THROTTLED)


def held_by_us(values: Matrix) -> NDArray[np.bool_]:
    """Of a block (..., FEATURES): where a card was under a cap of ours that slowed it, or may have where it does not tell."""
    with np.errstate(invalid="ignore"):
        held = (values[..., _CAPPED_AT] > 0) & ~(values[..., _THROTTLED_AT] <= LEAST_HELD)
    return np.asarray(held.any(-1))


def judged(values: Matrix) -> NDArray[np.bool_]:
    """Of a block (nodes, minutes, FEATURES): what is neither held by us nor shortly after it."""
    held = held_by_us(values)
    since = np.cumsum(np.pad(held, ((0, 0), (SETTLE_MINUTES + 1, 0))), 1)
    return np.asarray(since[:, SETTLE_MINUTES + 1 :] == since[:, : -SETTLE_MINUTES - 1])
