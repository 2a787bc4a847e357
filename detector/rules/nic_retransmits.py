"""Packets are lost on the way and sent again: the fabric, not this port's link."""

from typing import Final

import numpy as np

from gpuwarden.detector.rules.rule import WARNING, Fact, Rule, none, rate_of
from gpuwarden.detector.view import Values, View, above
from gpuwarden.proto.catalogue import Device

RETRANSMITS_PER_S: Final = 100.0  # adaptive routing alone brings some packets out of order
_COUNTERS: Final = {
    "ack timeouts": "nic_ack_timeouts_total",
    "packet sequence errors": "nic_packet_sequence_errors_total",
    "out of sequence": "nic_out_of_sequence_total",
}


def _score(view: View) -> Values:
    rates = [view.rate(counter) for counter in _COUNTERS.values()]
    return above(np.fmax.reduce(rates), RETRANSMITS_PER_S)


RULE = Rule(
    "nic_retransmits", Device.NIC, WARNING,
    "packets are lost and sent again",
    "Look for a congested or failing switch port on the way; compare with the other rails.",
    _score,
    tuple(Fact(words, rate_of(counter), "/s", none) for words, counter in _COUNTERS.items()),
    fires=(8, 10), quiet_s=300.0,
)
