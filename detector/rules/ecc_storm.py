"""Corrected memory errors in such numbers that they cost speed, and announce worse.

10 a second is far above what healthy memory shows (a few a day) and far below the storms of thousands that were seen in the field.
"""

from typing import Final

from gpuwarden.detector.rules.rule import WARNING, Fact, Rule, none, rate_of, value_of
from gpuwarden.detector.view import Values, View, above
from gpuwarden.proto.catalogue import Device

STORM_PER_S: Final = 10.0


def _score(view: View) -> Values:
    return above(view.rate("gpu_ecc_corrected_volatile_total"), STORM_PER_S)


RULE = Rule(
    "gpu_ecc_storm", Device.GPU, WARNING,
    "memory errors are corrected at a high rate",
    "Drain the node when its job ends and run a memory diagnosis.",
    _score,
    (
        Fact("corrected errors", rate_of("gpu_ecc_corrected_volatile_total"), "/s", none),
        Fact("rows remapped for them", value_of("gpu_remapped_rows_corrected")),
    ),
    fires=(5, 10), quiet_s=600.0,
)
