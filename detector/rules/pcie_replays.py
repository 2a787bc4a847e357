"""PCIe repeats packets: a link that is about to get slower, or to go."""

from typing import Final

from gpuwarden.detector.rules.rule import WARNING, Fact, Rule, none, rate_of, value_of
from gpuwarden.detector.view import Values, View, above
from gpuwarden.proto.catalogue import Device

REPLAYS_PER_S: Final = 1.0  # single replays happen on links in order


def _score(view: View) -> Values:
    return above(view.rate("gpu_pcie_replays_total"), REPLAYS_PER_S)


RULE = Rule(
    "gpu_pcie_replays", Device.GPU, WARNING,
    "PCIe repeats packets at a high rate",
    "Drain the node when its job ends, reseat card and riser.",
    _score,
    (
        Fact("replays", rate_of("gpu_pcie_replays_total"), "/s", none),
        Fact("lanes in use", value_of("gpu_pcie_width_lanes")),
    ),
    fires=(5, 10), quiet_s=300.0,
)
