"""Errors of a port's own link: cable, transceiver, or the port at the other end."""

from typing import Final

import numpy as np

from gpuwarden.detector.rules.rule import WARNING, Fact, Rule, none, rate_of
from gpuwarden.detector.view import Values, View, above
from gpuwarden.proto.catalogue import Device

ERRORS_PER_S: Final = 1.0  # a link in order shows a few an hour
_COUNTERS: Final = {
    "symbol errors": "nic_symbol_errors_total",
    "link recoveries": "nic_link_recovered_total",
    "receive errors": "nic_receive_errors_total",
    "integrity errors": "nic_link_integrity_errors_total",
    "buffer overruns": "nic_buffer_overrun_errors_total",
}


def _score(view: View) -> Values:
    """The worst counter, not their sum: one bad packet is counted by several."""
    rates = [view.rate(counter) for counter in _COUNTERS.values()]
    return above(np.fmax.reduce(rates), ERRORS_PER_S)


RULE = Rule(
    "nic_errors", Device.NIC, WARNING,
    "the port counts link errors",
    "Clean or replace cable and transceiver; look at the switch port.",
    _score,
    tuple(Fact(words, rate_of(counter), "/s", none) for words, counter in _COUNTERS.items()),
    fires=(5, 10), quiet_s=300.0,
)
