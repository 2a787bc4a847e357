"""A port that has been up is down. One that was never up is none of ours."""

import numpy as np

from gpuwarden.detector.rules.rule import CRITICAL, Fact, Rule, highest_of, value_of
from gpuwarden.detector.view import Values, View
from gpuwarden.proto.catalogue import Device


def _score(view: View) -> Values:
    return np.where(view.highest("nic_link_up") > 0, 1 - view.value("nic_link_up"), np.float32(0))


RULE = Rule(
    "nic_link_down", Device.NIC, CRITICAL,
    "the port is down",
    "Check cable, transceiver and switch port; drain the node if jobs need this rail.",
    _score,
    (Fact("link up", value_of("nic_link_up"), expected=highest_of("nic_link_up")),),
    fires=(2, 3),
)
