"""A port went down and may be up again: a job has felt it."""

from gpuwarden.detector.rules.rule import AT_ONCE, WARNING, Fact, Rule, increase_of, none, value_of
from gpuwarden.proto.catalogue import Device

RULE = Rule(
    "nic_link_flapping", Device.NIC, WARNING,
    "the port's link went down",
    "Check cable and transceiver if it comes again.",
    increase_of("nic_link_downed_total"),
    (
        Fact("times down", increase_of("nic_link_downed_total"), expected=none),
        Fact("link up", value_of("nic_link_up")),
    ),
    fires=AT_ONCE, quiet_s=600.0,
)
