"""A port has negotiated a lower rate than it has had."""

import numpy as np

from gpuwarden.detector.rules.rule import WARNING, Fact, Look, Rule, highest_of, value_of
from gpuwarden.detector.view import Values, View
from gpuwarden.proto.catalogue import Device


def _gbit(look: Look) -> Look:
    return lambda view: look(view) / np.float32(1e9)


def _score(view: View) -> Values:
    """A port that is down has a rate of its own making; another rule tells of it."""
    rate, highest = view.value("nic_rate_bits_per_second"), view.highest("nic_rate_bits_per_second")
    return np.where(view.value("nic_link_up") == 0, np.float32(0), 1 - rate / highest)


RULE = Rule(
    "nic_rate_degraded", Device.NIC, WARNING,
    "the port is slower than it has been",
    "Check cable and transceiver; a lane may be gone.",
    _score,
    (
        Fact(
            "link rate", _gbit(value_of("nic_rate_bits_per_second")), "Gbit/s",
            _gbit(highest_of("nic_rate_bits_per_second")),
        ),
    ),
)
