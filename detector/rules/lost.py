"""The driver does not reach a card any more: it fell off the bus."""

from gpuwarden.detector.rules.rule import AT_ONCE, CRITICAL, Fact, Rule, value_of
from gpuwarden.proto.catalogue import Device

RULE = Rule(
    "gpu_lost", Device.GPU, CRITICAL,
    "the driver does not reach the card any more",
    "Drain the node and reboot it; if the card is lost again, check its seating and power, then replace it.",
    value_of("gpu_lost"),
    (Fact("age of the last good reading", value_of("gpu_sample_age_seconds"), "s"),),
    fires=AT_ONCE,
)
