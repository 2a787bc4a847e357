"""The driver slows the card down to keep its temperature. Bits: NVML clocks-event reasons."""

from typing import Final

from gpuwarden.detector.rules.rule import WARNING, Fact, Rule, rate_of, value_of
from gpuwarden.detector.view import Values, View
from gpuwarden.proto.catalogue import Device

SOFTWARE_THERMAL: Final = 0x20


def _score(view: View) -> Values:
    return view.bits("gpu_throttle_reasons", SOFTWARE_THERMAL)


RULE = Rule(
    "gpu_software_thermal", Device.GPU, WARNING,
    "the driver holds the card back to keep it cool enough",
    "Check air flow and coolant; compare with the other cards of the node.",
    _score,
    (
        Fact("core temperature", value_of("gpu_temperature_celsius"), "C"),
        Fact("degrees left", value_of("gpu_temperature_margin_celsius"), "C"),
        Fact("share of time held back", rate_of("gpu_throttle_software_thermal_seconds_total")),
    ),
    fires=(20, 30),
)
