"""Memory errors that could not be corrected: what was computed may be wrong."""

import numpy as np

from gpuwarden.detector.rules.rule import AT_ONCE, CRITICAL, Fact, Rule, increase_of, none, value_of
from gpuwarden.detector.view import Values, View
from gpuwarden.proto.catalogue import Device


def _score(view: View) -> Values:
    """Either counter: the volatile one alone starts anew with the driver."""
    return np.fmax(view.increase("gpu_ecc_uncorrected_volatile_total"), view.increase("gpu_ecc_uncorrected_aggregate_total"))


RULE = Rule(
    "gpu_ecc_uncorrected", Device.GPU, CRITICAL,
    "memory errors could not be corrected",
    "Restart the job from its checkpoint, drain the node and reset the card; replace it if they come again.",
    _score,
    (
        Fact("new uncorrected errors", increase_of("gpu_ecc_uncorrected_volatile_total"), expected=none),
        Fact("new ones in the card's record", increase_of("gpu_ecc_uncorrected_aggregate_total"), expected=none),
        Fact("rows remapped for them", value_of("gpu_remapped_rows_uncorrected")),
    ),
    fires=AT_ONCE, quiet_s=3600.0,
)
