"""A bad memory row is known and still in use until the card is reset."""

from gpuwarden.detector.rules.rule import AT_ONCE, WARNING, Fact, Rule, none, value_of
from gpuwarden.proto.catalogue import Device

RULE = Rule(
    "gpu_row_remap_pending", Device.GPU, WARNING,
    "a memory row is to be remapped at the next reset",
    "Reset the card when its job ends.",
    value_of("gpu_row_remap_pending"),
    (
        Fact("remaps that wait", value_of("gpu_row_remap_pending"), expected=none),
        Fact("rows remapped for uncorrected errors", value_of("gpu_remapped_rows_uncorrected")),
    ),
    fires=AT_ONCE,
)
