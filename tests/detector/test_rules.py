"""Each rule, by what a card or a port reports: what fires it, how fast, when it is over, and what leaves it alone."""

from typing import Any

import pytest
from house import ROOT

from gpuwarden.detector.rules import RULES
from gpuwarden.detector.rules.document import rewritten
from gpuwarden.detector.rules.xid import XIDS
from gpuwarden.proto.catalogue import Device

GPU, NIC = "GPU-3", "mlx5_0/1"
# Rule, device, what is wrong (a value, or with `grow` an increase a second), samples until it fires.
GAUGES = [
    ("gpu_lost", GPU, {"gpu_lost": 1.0}, 1),
    ("gpu_recovery_action", GPU, {"gpu_recovery_action": 2.0}, 1),
    ("gpu_hardware_thermal", GPU, {"gpu_throttle_reasons": float(0x48)}, 3),
    ("gpu_software_thermal", GPU, {"gpu_throttle_reasons": float(0x20)}, 20),
    ("gpu_power_brake", GPU, {"gpu_throttle_reasons": float(0x88)}, 2),
    ("gpu_hardware_slowdown", GPU, {"gpu_throttle_reasons": float(0x8)}, 3),
    ("gpu_row_remap_failure", GPU, {"gpu_row_remap_failure": 1.0}, 1),
    ("gpu_row_remap_pending", GPU, {"gpu_row_remap_pending": 1.0}, 1),
    ("gpu_nvlink_down", GPU, {"gpu_nvlink_active_links": 17.0}, 3),
    ("gpu_pcie_degraded", GPU, {"gpu_pcie_width_lanes": 8.0}, 20),
    ("gpu_pcie_degraded", GPU, {"gpu_pcie_generation": 3.0}, 20),
    ("nic_link_down", NIC, {"nic_link_up": 0.0}, 2),
    ("nic_rate_degraded", NIC, {"nic_rate_bits_per_second": 2e11}, 3),
]
COUNTERS = [
    ("gpu_ecc_uncorrected", GPU, "gpu_ecc_uncorrected_volatile_total", 1.0, 1),
    ("gpu_ecc_storm", GPU, "gpu_ecc_corrected_volatile_total", 4600.0, 5),
    ("gpu_nvlink_errors", GPU, "gpu_nvlink_errors_total", 20.0, 5),
    ("gpu_pcie_replays", GPU, "gpu_pcie_replays_total", 5.0, 5),
    ("nic_link_flapping", NIC, "nic_link_downed_total", 1.0, 1),
    ("nic_errors", NIC, "nic_symbol_errors_total", 30.0, 5),
    ("nic_retransmits", NIC, "nic_out_of_sequence_total", 500.0, 8),
]


def feed(story: Any, agent: Any, samples: int, wrong: dict[str, float] | None = None, device: str = GPU) -> None:
    for _ in range(samples):
        story.send(agent.record({(device, metric): value for metric, value in (wrong or {}).items()}))


@pytest.mark.parametrize(("kind", "device", "wrong", "samples"), GAUGES)
def test_a_rule_fires_after_its_samples_and_is_over_after_its_quiet_time(
    story: Any, agent: Any, kind: str, device: str, wrong: dict[str, float], samples: int
) -> None:
    quiet_s = next(rule.quiet_s for rule in RULES if rule.kind == kind)
    feed(story, agent, 5)
    feed(story, agent, samples - 1, wrong, device)
    assert story.lines == []
    feed(story, agent, 1, wrong, device)
    assert [(f.kind, f.subject.node, f.subject.id) for f in story.findings] == [(kind, "gpu01", device)]
    feed(story, agent, int(quiet_s) - 1)
    assert len(story.findings) == 1
    feed(story, agent, 2)
    assert [(f.kind, f.id) for f in story.findings] == [(kind, story.findings[0].id)] * 2


@pytest.mark.parametrize(("kind", "device", "metric", "a_second", "samples"), COUNTERS)
def test_a_counter_fires_by_its_rate(
    story: Any, agent: Any, kind: str, device: str, metric: str, a_second: float, samples: int
) -> None:
    feed(story, agent, 5)
    for second in range(1, samples + 1):
        assert story.lines == []
        feed(story, agent, 1, {metric: a_second * second}, device)
    assert [(f.kind, f.subject.id) for f in story.findings] == [(kind, device)]


def test_a_rate_is_by_the_nodes_own_clock(story: Any, agent: Any) -> None:
    """Ten samples' worth of replays in one sample that comes after a gap of 100 s are few a second."""
    feed(story, agent, 2)
    for i in range(20):
        story.send(agent.record({(GPU, "gpu_pcie_replays_total"): 20.0 * i}, period_s=100.0))
    assert story.lines == []


def test_every_rule_has_a_case_here() -> None:
    assert {rule.kind for rule in RULES} == {case[0] for case in (*GAUGES, *COUNTERS)}


def test_power_capping_is_no_fault_however_long_and_whoever_capped(story: Any, agent: Any) -> None:
    capped = {"gpu_throttle_reasons": float(0x4), "gpu_power_limit_enforced_watts": 300.0, "gpu_sm_clock_hertz": 0.9e9,
              "gpu_power_watts": 300.0}
    feed(story, agent, 100, {**capped, "gpu_capped_by_us": 1.0})
    feed(story, agent, 100, capped)
    assert story.lines == []


def test_an_idle_link_that_saves_power_is_no_fault(story: Any, agent: Any) -> None:
    feed(story, agent, 100, {"gpu_pcie_generation": 1.0, "gpu_utilization_ratio": 0.0})
    assert story.lines == []


def test_a_port_that_was_never_up_is_none_of_ours(story: Any, agent: Any) -> None:
    feed(story, agent, 50, {"nic_link_up": 0.0}, NIC)
    assert story.lines == []


def test_a_value_that_comes_and_goes_fires_once(story: Any, agent: Any) -> None:
    for _ in range(50):
        feed(story, agent, 3, {"gpu_throttle_reasons": float(0x40)})
        feed(story, agent, 3)
    assert len(story.findings) == 1


def test_a_single_bad_sample_fires_nothing_where_patience_is_asked_for(story: Any, agent: Any) -> None:
    for _ in range(20):
        feed(story, agent, 1, {"gpu_throttle_reasons": float(0x40)})
        feed(story, agent, 4)
    assert story.lines == []


def test_what_is_unknown_ends_nothing(story: Any, agent: Any) -> None:
    feed(story, agent, 1, {"gpu_row_remap_failure": 1.0})
    feed(story, agent, 200, {"gpu_row_remap_failure": float("nan")})
    assert len(story.findings) == 1


def test_evidence_has_names_units_and_what_would_be_normal(story: Any, agent: Any) -> None:
    feed(story, agent, 1)
    feed(story, agent, 20, {"gpu_pcie_width_lanes": 4.0})
    (finding,) = story.findings
    assert finding.summary == (
        "the PCIe link is slower than card and slot allow: lanes in use 4, should be 16, generation in use 5, should be 5"
    )
    assert [(e.name, e.value, e.expected) for e in finding.evidence] == [("lanes in use", 4, 16), ("generation in use", 5, 5)]


def test_every_rule_and_xid_says_what_to_do() -> None:
    for said in (*RULES, *XIDS.values()):
        assert said.action.endswith(".")
    assert {rule.device for rule in RULES} == {Device.GPU, Device.NIC}
    assert {48, 63, 64, 74, 79, 94, 95, 119, 120, 154} <= XIDS.keys()


def test_the_page_of_findings_is_what_the_rules_say() -> None:
    page = ROOT / "docs" / "rules.md"
    text = page.read_text(encoding="utf-8")
    assert text == rewritten(text), "python -m gpuwarden.detector.rules.document docs/rules.md"
