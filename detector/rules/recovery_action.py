"""NVIDIA's own verdict on a card (NVML field 230). It goes before any table of XIDs."""

from gpuwarden.detector.rules.rule import AT_ONCE, CRITICAL, Fact, Rule, none, value_of
from gpuwarden.proto.catalogue import Device

RULE = Rule(
    "gpu_recovery_action", Device.GPU, CRITICAL,
    "the driver asks for a recovery action",
    "Drain the node, then: 1 reset the card, 2 reboot the node, 3 drain its peers, 4 drain and reset, 5 recover the IMEX domain,"
    " 6 reset the bus, 7 reboot the system; any other: ask NVIDIA.",
    value_of("gpu_recovery_action"),
    (Fact("recovery action", value_of("gpu_recovery_action"), expected=none),),
    fires=AT_ONCE,
)
