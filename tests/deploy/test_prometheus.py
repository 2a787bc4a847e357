"""The alert rules: each fires on what it is for and on nothing else, and has a word in the runbook."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # ships no types
from house import ROOT

RULES = ROOT / "deploy" / "prometheus" / "gpuwarden.rules.yml"
GROUPS: list[dict[str, Any]] = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
ALERTS = {rule["alert"]: rule for group in GROUPS for rule in group["rules"]}

# Alert to series that make it fire within ten minutes, and series that must not: `+` counts up a minute, `_` is no sample.
CASES: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "GpuwardenOverBudget": (
        {'gpuwarden_domain_power_watts{domain="a"}': "61000x20", 'gpuwarden_domain_budget_watts{domain="a"}': "60000x20"},
        {'gpuwarden_domain_power_watts{domain="a"}': "59000x20", 'gpuwarden_domain_budget_watts{domain="a"}': "60000x20"},
    ),
    "GpuwardenBreakerWarm": ({'gpuwarden_domain_heat_ratio{domain="a"}': "0.6x20"}, {'gpuwarden_domain_heat_ratio{domain="a"}': "0.4x20"}),
    "GpuwardenNotActing": (
        {f'gpuwarden_domain_{name}{{domain="a"}}': f"{value}x20" for name, value in (("auto", 0), ("power_watts", 95), ("rating_watts", 100))},
        {f'gpuwarden_domain_{name}{{domain="a"}}': f"{value}x20" for name, value in (("auto", 1), ("power_watts", 95), ("rating_watts", 100))},
    ),
    "GpuwardenNodeSilent": (
        {'gpuwarden_nodes{state="stale"}': "0x20", 'gpuwarden_nodes{state="unknown"}': "2x20"},  # the controller has just restarted
        {'gpuwarden_nodes{state="stale"}': "0x20", 'gpuwarden_nodes{state="unknown"}': "0x14 8x5", 'gpuwarden_nodes{state="live"}': "8x14 0x5"},
    ),
    "GpuwardenDriverHung": ({'gpuwarden_nodes{state="hung"}': "1x20"}, {'gpuwarden_nodes{state="hung"}': "0x20"}),
    "GpuwardenLimitChangedByOthers": (
        {'gpuwarden_limiter_foreign_changes_total{node="n"}': "0+1x20"}, {'gpuwarden_limiter_foreign_changes_total{node="n"}': "7x20"},
    ),
    "GpuwardenGuardTripped": ({'gpuwarden_limiter_guard_trips_total{node="n"}': "0+1x20"}, {'gpuwarden_limiter_guard_trips_total{node="n"}': "7x20"}),
    "GpuwardenControllerDown": ({'up{job="gpuwarden-controller"}': "0x20"}, {'up{job="gpuwarden-controller"}': "1x20"}),
    "GpuwardenDetectorDown": ({'up{job="gpuwarden-agent"}': "1x20"}, {'up{job="gpuwarden-detector",instance="b"}': "1x20", 'up{job="gpuwarden-detector",instance="c"}': "0x20"}),
    "GpuwardenAgentDown": ({'up{job="gpuwarden-agent",instance="n"}': "0x20"}, {'up{job="gpuwarden-agent",instance="n"}': "1x20"}),
    "GpuwardenCollectorFails": ({'gpuwarden_collector_success{collector="nvml"}': "0x20"}, {'gpuwarden_collector_success{collector="nvml"}': "1x20"}),
    "GpuwardenTelemetryWaits": ({"gpuwarden_agent_spool_records": "700x20"}, {"gpuwarden_agent_spool_records": "3x20"}),
    "GpuwardenTelemetryDropped": ({'gpuwarden_agent_spool_dropped_total{events="no"}': "0+1x20"}, {'gpuwarden_agent_spool_dropped_total{events="no"}': "7x20"}),
    "GpuwardenSamplesLost": ({"gpuwarden_detector_samples_lost_total": "0+1x20"}, {"gpuwarden_detector_samples_lost_total": "7x20"}),
    "GpuwardenRecordsRefused": ({"gpuwarden_detector_records_refused_total": "0+1x20"}, {"gpuwarden_detector_records_refused_total": "7x20"}),
    "GpuwardenReportsRefused": ({'gpuwarden_limiter_reports_refused_total{node="n"}': "0+1x20"}, {'gpuwarden_limiter_reports_refused_total{node="n"}': "7x20"}),
    "GpuwardenDenied": (
        {'gpuwarden_controller_denied_total{reason="NO_ROLE"}': "_x12 6x7"},
        {'gpuwarden_controller_denied_total{reason="NO_ROLE"}': "0+1x20", 'gpuwarden_controller_denied_total{reason="OTHER_NODE"}': "_x12 1x7"},
    ),
    "GpuwardenPeopleNotTold": (
        {'gpuwarden_webhook_alerts_total{webhook="w",outcome="given_up"}': "_x3 1x16"},
        {
            'gpuwarden_webhook_alerts_total{webhook="w",outcome="delivered"}': "_x3 1x16",
            'gpuwarden_webhook_alerts_total{webhook="w",outcome="given_up"}': "0x20",
        },
    ),
    "GpuwardenLoopLate": (
        {"gpuwarden_loop_late_total": "0+5x20", "gpuwarden_loop_ticks_total": "0+40x20"},
        {
            'gpuwarden_loop_late_total{instance="a"}': "0+5x20", 'gpuwarden_loop_ticks_total{instance="a"}': "0+60x20",
            # One that has just started, on a machine that was busy with it.
            'gpuwarden_loop_late_total{instance="b"}': "_x13 0 20 20", 'gpuwarden_loop_ticks_total{instance="b"}': "_x13 0 60 120",
        },
    ),
    "GpuwardenActionFailed": ({'gpuwarden_action_failed_total{action="Notify"}': "_x3 1x16"}, {'gpuwarden_action_failed_total{action="Notify"}': "7x20"}),
}


def promtool(*words: str) -> str:
    done = subprocess.run(["promtool", *words], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_alert_has_a_case() -> None:
    assert CASES.keys() == ALERTS.keys()


# As above, of alerts that have more than one way to fire.
ALSO = {
    "GpuwardenNodeSilent": {'gpuwarden_nodes{state="stale"}': "2x20", 'gpuwarden_nodes{state="unknown"}': "0x20"},
    "GpuwardenDenied": {'gpuwarden_controller_denied_total{reason="NO_ROLE"}': "0+3x20"},
    "GpuwardenPeopleNotTold": {'gpuwarden_webhook_alerts_total{webhook="w",outcome="given_up"}': "0x10 1x9"},
    "GpuwardenActionFailed": {'gpuwarden_action_failed_total{action="Notify"}': "7x10 8x9"},
}


def judged(alert: str, series: dict[str, str], path: Path) -> str:
    """What promtool says against the alert being quiet at the end; '' where it is."""
    test = {
        "rule_files": [str(RULES)], "evaluation_interval": "1m",
        "tests": [{
            "interval": "1m", "input_series": [{"series": name, "values": values} for name, values in series.items()],
            "alert_rule_test": [{"eval_time": "15m", "alertname": alert, "exp_alerts": []}],
        }],
    }
    path.write_text(json.dumps(test))
    done = subprocess.run(["promtool", "test", "rules", str(path)], capture_output=True, text=True, check=False, timeout=60)
    return "" if done.returncode == 0 else done.stdout + done.stderr


@pytest.mark.parametrize("alert", ALERTS)
def test_it_fires_on_what_it_is_for_and_not_on_what_is_well(alert: str, tmp_path: Path) -> None:
    fires, well = CASES[alert]
    assert judged(alert, well, tmp_path / "well.yml") == ""
    for series in (fires, ALSO.get(alert, fires)):
        assert f"alertname: {alert}" in judged(alert, series, tmp_path / "fires.yml"), f"{alert} on {series}"


def test_rules_and_configuration_load() -> None:
    assert f"{len(ALERTS)} rules found" in promtool("check", "rules", str(RULES))
    promtool("check", "config", "--syntax-only", str(RULES.with_name("prometheus.yml")))


def test_the_configuration_has_somebody_to_tell() -> None:
    config = yaml.safe_load(RULES.with_name("prometheus.yml").read_text(encoding="utf-8"))
    assert [manager["static_configs"][0]["targets"] for manager in config["alerting"]["alertmanagers"]] == [["alertmanager:9093"]]


def test_every_alert_has_its_severity_and_a_heading_in_the_runbook() -> None:
    headings = set(re.findall(r"^## (\w+)$", (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8"), re.MULTILINE))
    assert headings == ALERTS.keys()
    for name, rule in ALERTS.items():
        assert rule["labels"]["severity"] in ("info", "warning", "critical")
        assert rule["annotations"]["runbook_url"] == f"docs/runbook.md#{name.lower()}"
