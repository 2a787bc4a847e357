"""What of a host does not follow the load."""

from typing import Final

import numpy as np

from gpuwarden.detector.models.deviation import Feature, Features
from gpuwarden.detector.models.median import Block
from gpuwarden.detector.node import Slots
from gpuwarden.detector.view import View
from gpuwarden.proto.catalogue import Device


def _read(view: View) -> Block:
    return np.stack(
        (
            view.value("host_cpu_governor_performance_ratio"),
            view.rate("host_network_errors_total"),
            view.rate("host_network_drops_total"),
        ),
        1,
    )


def _settle(means: Block, members: Slots) -> Block:
    """Rates as logarithms: ten times as much is as unusual at any level."""
    settled = means.copy()
    settled[:, 1:] = np.log1p(means[:, 1:])
    return settled


HOST: Final = Features(
    Device.HOST, "host_unusual", "the host is not as it was", 3, _read, _settle,
    (
        Feature("share of cores with governor performance", "ratio", 0.05),
        Feature("network errors, log(1 + rate)", "", 0.5),
        Feature("network drops, log(1 + rate)", "", 0.8),
    ),
)
