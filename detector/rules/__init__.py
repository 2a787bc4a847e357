"""The rules that look at numbers. A rule is a file here and a line in this table.

Not here, since they look at something else: `xid.toml` (driver events), silent nodes and missing cards (`detector/presence.py`).
Power capping (reason bit 0x4) is in none of them: slow because capped is no fault.
"""

from typing import Final

from gpuwarden.detector.rules import (
    ecc_storm,
    ecc_uncorrected,
    hardware_slowdown,
    hardware_thermal,
    lost,
    nic_down,
    nic_errors,
    nic_flapping,
    nic_retransmits,
    nic_slow,
    nvlink_down,
    nvlink_errors,
    pcie_degraded,
    pcie_replays,
    power_brake,
    recovery_action,
    row_remap_failure,
    row_remap_pending,
    software_thermal,
)
from gpuwarden.detector.rules.rule import Rule

RULES: Final[tuple[Rule, ...]] = (
    lost.RULE,
    recovery_action.RULE,
    hardware_thermal.RULE,
    software_thermal.RULE,
    power_brake.RULE,
    hardware_slowdown.RULE,
    ecc_uncorrected.RULE,
    ecc_storm.RULE,
    row_remap_failure.RULE,
    row_remap_pending.RULE,
    nvlink_down.RULE,
    nvlink_errors.RULE,
    pcie_degraded.RULE,
    pcie_replays.RULE,
    nic_down.RULE,
    nic_slow.RULE,
    nic_flapping.RULE,
    nic_errors.RULE,
    nic_retransmits.RULE,
)
