"""The card has no spare rows left where it needs one."""

from gpuwarden.detector.rules.rule import AT_ONCE, CRITICAL, Fact, Rule, none, value_of
from gpuwarden.proto.catalogue import Device

RULE = Rule(
    "gpu_row_remap_failure", Device.GPU, CRITICAL,
    "a bad memory row could not be remapped",
    "Drain the node and replace the card.",
    value_of("gpu_row_remap_failure"),
    (
        Fact("remap failures", value_of("gpu_row_remap_failure"), expected=none),
        Fact("rows remapped for uncorrected errors", value_of("gpu_remapped_rows_uncorrected")),
    ),
    fires=AT_ONCE,
)
