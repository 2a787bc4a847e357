"""A card beside the busy cards of its node."""

from typing import Final

import numpy as np

from gpuwarden.detector.models.deviation import Feature, Features
from gpuwarden.detector.models.median import Block, median_of_members
from gpuwarden.detector.node import Slots
from gpuwarden.detector.view import COLUMN_OF, View
from gpuwarden.proto.catalogue import Device

BUSY_RATIO: Final = 0.5
SAME_LIMIT_RATIO: Final = 0.01
LEAST_PEERS: Final = 4  # of fewer, the median is hardly more than one of them
RELATIVE: Final = 2  # the first features are compared as shares, the others as differences

_READ: Final = tuple(COLUMN_OF[name] for name in (
    "gpu_power_watts", "gpu_sm_clock_hertz", "gpu_temperature_celsius", "gpu_memory_temperature_celsius",
    "gpu_utilization_ratio", "gpu_power_limit_enforced_watts",
))
_USED: Final = len(_READ) - 2


def _read(view: View) -> Block:
    return view.now[:, _READ]


def _settle(means: Block, members: Slots) -> Block:
    """Differences from the median of the node's comparable cards; NaN for a card, or a node, that is not comparable."""
    used, busy, limit = means[:, :_USED].copy(), means[:, _USED] >= BUSY_RATIO, means[:, _USED + 1].copy()
    limit[~busy] = np.nan
    common, _ = median_of_members(limit[:, None], members)
    other = np.abs(limit / common[:, 0] - 1) > SAME_LIMIT_RATIO  # no card that tells its limit: nothing is excluded
    used[~busy | other] = np.nan
    middle, peers = median_of_members(used, members)
    used[peers < LEAST_PEERS] = np.nan
    used[:, :RELATIVE] = used[:, :RELATIVE] / middle[:, :RELATIVE] - 1
    used[:, RELATIVE:] -= middle[:, RELATIVE:]
    return used


GPU: Final = Features(
    Device.GPU, "gpu_unusual", "the card differs from its neighbours as it has not before", len(_READ), _read, _settle,
    (
        Feature("power beside the node's other cards", "ratio", 0.04),
        Feature("SM clock beside the node's other cards", "ratio", 0.02),
        Feature("core temperature beside the node's other cards", "C", 3.0),
        Feature("memory temperature beside the node's other cards", "C", 3.0),
    ),
)
