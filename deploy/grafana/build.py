"""Makes the dashboards beside it: `python deploy/grafana/build.py`. A panel is a title, a unit, and queries with their legends."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
WIDTH, HEIGHT, COLUMNS = 12, 8, 2
SOURCE = {"type": "prometheus", "uid": "${datasource}"}


class Panel(NamedTuple):
    title: str
    unit: str
    queries: Sequence[tuple[str, str]]
    kind: str = "timeseries"


ROW = (
    Panel("Draw against the budget", "watt", (
        ("gpuwarden_domain_power_watts{domain=~\"$domain\"}", "{{domain}} draws"),
        ("gpuwarden_domain_budget_watts{domain=~\"$domain\"}", "{{domain}} budget"),
        ("gpuwarden_domain_rating_watts{domain=~\"$domain\"}", "{{domain}} rating"),
    )),
    Panel("What the grants may draw at worst", "watt", (("gpuwarden_domain_counted_watts{domain=~\"$domain\"}", "{{domain}}"),)),
    Panel("Breaker model, share of the trip", "percentunit", (("gpuwarden_domain_heat_ratio{domain=~\"$domain\"}", "{{domain}}"),)),
    Panel("Nodes by state", "none", (("gpuwarden_nodes", "{{state}}"),)),
    Panel("In auto", "none", (("gpuwarden_domain_auto{domain=~\"$domain\"}", "{{domain}}"),), "stat"),
    Panel("Findings that fire", "none", (("gpuwarden_findings_firing", "findings"),), "stat"),
    Panel("Limits that others changed, guard trips, refusals", "none", (
        ("sum by (node) (increase(gpuwarden_limiter_foreign_changes_total[$__rate_interval]))", "{{node}} changed"),
        ("sum by (node) (increase(gpuwarden_limiter_guard_trips_total[$__rate_interval]))", "{{node}} guard"),
        ("sum by (node) (increase(gpuwarden_limiter_refusals_total[$__rate_interval]))", "{{node}} refused"),
    )),
)
NODES = (
    Panel("GPU power", "watt", (("gpuwarden_gpu_power_watts{instance=~\"$node\"}", "{{instance}} {{gpu}}"),)),
    Panel("GPU power limit", "watt", (("gpuwarden_gpu_power_limit_enforced_watts{instance=~\"$node\"}", "{{instance}} {{gpu}}"),)),
    Panel("GPU temperature", "celsius", (("gpuwarden_gpu_temperature_celsius{instance=~\"$node\"}", "{{instance}} {{gpu}}"),)),
    Panel("GPU utilisation", "percentunit", (("gpuwarden_gpu_utilization_ratio{instance=~\"$node\"}", "{{instance}} {{gpu}}"),)),
    Panel("SM clock", "hertz", (("gpuwarden_gpu_sm_clock_hertz{instance=~\"$node\"}", "{{instance}} {{gpu}}"),)),
    Panel("Things that happened to devices", "none", (
        ("sum by (instance, kind) (increase(gpuwarden_device_events_total{instance=~\"$node\"}[$__rate_interval]))", "{{instance}} {{kind}}"),
    )),
    Panel("Host load", "none", (("gpuwarden_host_load1{instance=~\"$node\"}", "{{instance}}"),)),
    Panel("InfiniBand rate", "bps", (("gpuwarden_nic_rate_bits_per_second{instance=~\"$node\"}", "{{instance}} {{nic}}"),)),
)
ITSELF = (
    Panel("Agents in session", "none", (("gpuwarden_controller_sessions", "sessions"),), "stat"),
    Panel("Epoch", "none", (("gpuwarden_controller_epoch", "epoch"),), "stat"),
    Panel("Reports and grants", "ops", (
        ("sum by (outcome) (rate(gpuwarden_controller_reports_total[$__rate_interval]))", "reports {{outcome}}"),
        ("sum by (outcome) (rate(gpuwarden_controller_grants_total[$__rate_interval]))", "grants {{outcome}}"),
    )),
    Panel("Ledger", "ops", (
        ("rate(gpuwarden_controller_ledger_lines_total[$__rate_interval])", "lines"),
        ("rate(gpuwarden_controller_mirrored_lines_total[$__rate_interval])", "mirrored"),
    )),
    Panel("A durable write, 99 %", "s", (
        ("histogram_quantile(0.99, sum by (le) (rate(gpuwarden_controller_ledger_write_duration_seconds_bucket[$__rate_interval])))", "p99"),
    )),
    Panel("Samples", "ops", (
        ("rate(gpuwarden_detector_samples_judged_total[$__rate_interval])", "judged"),
        ("rate(gpuwarden_detector_samples_repeated_total[$__rate_interval])", "repeated"),
        ("rate(gpuwarden_detector_samples_lost_total[$__rate_interval])", "lost"),
        ("rate(gpuwarden_detector_records_refused_total[$__rate_interval])", "refused"),
    )),
    Panel("Telemetry that waits for Kafka", "none", (("gpuwarden_agent_spool_records", "{{instance}}"),)),
    Panel("Collectors", "s", (("gpuwarden_collector_duration_seconds", "{{instance}} {{collector}}"),)),
    Panel("Ticks left out, actions that failed", "none", (
        ("increase(gpuwarden_loop_late_total[$__rate_interval])", "{{instance}} late"),
        ("sum by (instance, action) (increase(gpuwarden_action_failed_total[$__rate_interval]))", "{{instance}} {{action}}"),
    )),
    Panel("Alerts for people", "none", (
        ("sum by (webhook, outcome) (increase(gpuwarden_webhook_alerts_total[$__rate_interval]))", "{{webhook}} {{outcome}}"),
    )),
    Panel("Memory", "bytes", (("process_resident_memory_bytes{job=~\"gpuwarden-.*\"}", "{{job}} {{instance}}"),)),
    Panel("Versions", "none", (("count by (part, version) (gpuwarden_build_info)", "{{part}} {{version}}"),), "stat"),
)
DASHBOARDS = {
    "row": ("gpuwarden: row power", ROW, ("domain", "label_values(gpuwarden_domain_power_watts, domain)")),
    "nodes": ("gpuwarden: nodes", NODES, ("node", "label_values(gpuwarden_gpu_power_watts, instance)")),
    "itself": ("gpuwarden itself", ITSELF, None),
}


def dashboard(name: str) -> dict[str, Any]:
    title, panels, variable = DASHBOARDS[name]
    return {
        "uid": f"gpuwarden-{name}", "title": title, "schemaVersion": 39, "version": 1, "tags": ["gpuwarden"], "editable": True,
        "refresh": "10s", "time": {"from": "now-1h", "to": "now"}, "timezone": "",
        "templating": {"list": [
            {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source"},
            *([_variable(*variable)] if variable else []),
        ]},
        "panels": [_panel(place, panel) for place, panel in enumerate(panels)],
    }


def _variable(name: str, query: str) -> dict[str, Any]:
    return {
        "name": name, "type": "query", "datasource": SOURCE, "query": {"query": query, "refId": name}, "refresh": 2, "multi": True,
        "includeAll": True, "allValue": ".*", "current": {"text": "All", "value": "$__all"}, "sort": 1,
    }


def _panel(place: int, panel: Panel) -> dict[str, Any]:
    row, column = divmod(place, COLUMNS)
    return {
        "id": place + 1, "type": panel.kind, "title": panel.title, "datasource": SOURCE,
        "gridPos": {"x": WIDTH * column, "y": HEIGHT * row, "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}} if panel.kind == "timeseries" else {},
        "targets": [
            {"refId": chr(ord("A") + i), "datasource": SOURCE, "expr": query, "legendFormat": legend}
            for i, (query, legend) in enumerate(panel.queries)
        ],
    }


def text(name: str) -> str:
    return json.dumps(dashboard(name), indent=1) + "\n"


if __name__ == "__main__":
    for made in DASHBOARDS:
        (HERE / f"{made}.json").write_text(text(made), encoding="utf-8")
