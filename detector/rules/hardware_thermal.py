"""The card slows itself down because it is too hot. Bits: NVML clocks-event reasons."""

from typing import Final

from gpuwarden.detector.rules.rule import CRITICAL, Fact, Rule, rate_of, value_of
from gpuwarden.detector.view import Values, View
from gpuwarden.proto.catalogue import Device

HARDWARE_THERMAL: Final = 0x40


def _score(view: View) -> Values:
    return view.bits("gpu_throttle_reasons", HARDWARE_THERMAL)


RULE = Rule(
    "gpu_hardware_thermal", Device.GPU, CRITICAL,
    "the card has slowed down hard because it is too hot",
    "Check fans, air flow and coolant of the node; take it out of service if its neighbours are cool.",
    _score,
    (
        Fact("core temperature", value_of("gpu_temperature_celsius"), "C"),
        Fact("memory temperature", value_of("gpu_memory_temperature_celsius"), "C"),
        Fact("share of time held back", rate_of("gpu_throttle_hardware_thermal_seconds_total")),
    ),
)
