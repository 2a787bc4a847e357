"""The card slows down and names neither heat nor brake. Bits: NVML clocks-event reasons."""

from typing import Final

import numpy as np

from gpuwarden.detector.rules.hardware_thermal import HARDWARE_THERMAL
from gpuwarden.detector.rules.power_brake import POWER_BRAKE
from gpuwarden.detector.rules.rule import WARNING, Fact, Rule, value_of
from gpuwarden.detector.view import Values, View
from gpuwarden.proto.catalogue import Device

HARDWARE_SLOWDOWN: Final = 0x8


def _score(view: View) -> Values:
    named = view.bits("gpu_throttle_reasons", HARDWARE_THERMAL | POWER_BRAKE)
    return np.where(named > 0, np.float32(0), view.bits("gpu_throttle_reasons", HARDWARE_SLOWDOWN))


RULE = Rule(
    "gpu_hardware_slowdown", Device.GPU, WARNING,
    "the card has slowed down and does not say why",
    "Check power cabling and cooling of this card.",
    _score,
    (
        Fact("SM clock", lambda view: view.value("gpu_sm_clock_hertz") / np.float32(1e6), "MHz"),
        Fact("board power", value_of("gpu_power_watts"), "W"),
        Fact("core temperature", value_of("gpu_temperature_celsius"), "C"),
    ),
)
