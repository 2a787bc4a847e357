"""The node's power supply asks the card to slow down. Our own caps set another bit (0x4) and are no fault."""

from typing import Final

from gpuwarden.detector.rules.rule import CRITICAL, Fact, Rule, rate_of, value_of
from gpuwarden.detector.view import Values, View
from gpuwarden.proto.catalogue import Device

POWER_BRAKE: Final = 0x80


def _score(view: View) -> Values:
    return view.bits("gpu_throttle_reasons", POWER_BRAKE)


RULE = Rule(
    "gpu_power_brake", Device.GPU, CRITICAL,
    "the node's power supply brakes the card",
    "Check power supplies, their feeds and the power budget of the chassis.",
    _score,
    (
        Fact("board power", value_of("gpu_power_watts"), "W"),
        Fact("limit in force", value_of("gpu_power_limit_enforced_watts"), "W"),
        Fact("share of time braked", rate_of("gpu_throttle_power_brake_seconds_total")),
    ),
    fires=(2, 5),
)
