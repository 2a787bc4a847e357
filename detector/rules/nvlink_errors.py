"""NVLink works, but repeats much of what it sends."""

from typing import Final

from gpuwarden.detector.rules.rule import WARNING, Fact, Rule, none, rate_of, value_of
from gpuwarden.detector.view import Values, View, above
from gpuwarden.proto.catalogue import Device

ERRORS_PER_S: Final = 1.0  # a link in order shows none for days


def _score(view: View) -> Values:
    return above(view.rate("gpu_nvlink_errors_total"), ERRORS_PER_S)


RULE = Rule(
    "gpu_nvlink_errors", Device.GPU, WARNING,
    "NVLink counts errors",
    "Watch for XID 74 and 144 to 150; reset the card when its job ends, then look at baseboard and bridge.",
    _score,
    (
        Fact("replay, recovery and CRC errors", rate_of("gpu_nvlink_errors_total"), "/s", none),
        Fact("links up", value_of("gpu_nvlink_active_links")),
    ),
    fires=(5, 10), quiet_s=300.0,
)
