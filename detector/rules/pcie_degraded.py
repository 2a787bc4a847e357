"""The PCIe link runs narrower, or under load slower, than card and slot can do."""

from typing import Final

import numpy as np

from gpuwarden.detector.rules.rule import WARNING, Fact, Rule, value_of
from gpuwarden.detector.view import Values, View
from gpuwarden.proto.catalogue import Device

BUSY_RATIO: Final = 0.5  # an idle link lowers its generation to save power, never its width


def _score(view: View) -> Values:
    lanes = view.value("gpu_pcie_width_max_lanes") - view.value("gpu_pcie_width_lanes")
    generations = view.value("gpu_pcie_generation_max") - view.value("gpu_pcie_generation")
    busy = view.value("gpu_utilization_ratio") >= BUSY_RATIO
    worst: Values = np.maximum(np.fmax(lanes, np.where(busy, generations, np.minimum(generations, np.float32(0)))), np.float32(0))
    return worst


RULE = Rule(
    "gpu_pcie_degraded", Device.GPU, WARNING,
    "the PCIe link is slower than card and slot allow",
    "Drain the node, reseat card and riser, look at the slot's settings.",
    _score,
    (
        Fact("lanes in use", value_of("gpu_pcie_width_lanes"), expected=value_of("gpu_pcie_width_max_lanes")),
        Fact("generation in use", value_of("gpu_pcie_generation"), expected=value_of("gpu_pcie_generation_max")),
    ),
    fires=(20, 30),
)
