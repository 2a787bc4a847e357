"""A snapshot as the page takes it: plain values, no NaN, words instead of numbers where a person reads them."""

import math
from collections.abc import Sequence
from itertools import islice
from typing import Any, Final

from gpuwarden.controller.web import words
from gpuwarden.controller.web.fold import Fold, fold
from gpuwarden.controller.web.headline import headline
from gpuwarden.controller.web.isolated import isolated
from gpuwarden.proto.control_pb2 import GetClusterResponse, Node, PowerDomain, WatchResponse
from gpuwarden.proto.finding_pb2 import Evidence, Finding, FindingState, Trend

# What a person can take in; the counts tell of the rest.
FINDINGS: Final = 60
ACTIONS: Final = 60
SUBJECTS: Final = 64

_NODE_NUMBERS: Final = (
    "power_w", "gpu_power_w", "enforced_w", "granted_w", "default_w", "floor_w", "counted_w", "report_age_s", "lease_ends_in_s",
)  # fmt: skip
_NODE_PLAIN: Final = ("name", "domain", "gpu_count", "firing", "reason")


def view(snapshot: WatchResponse) -> dict[str, Any]:
    """Everything on the page but the history."""
    line = headline(snapshot)
    findings = words.urgent_first(snapshot.findings)
    return {
        "level": line.level,
        "sentence": line.sentence,
        "cluster": _cluster(snapshot.cluster),
        "domains": [domain(one) for one in snapshot.cluster.domains],
        "nodes": _nodes(snapshot.nodes),
        "findings": [_finding(finding) for finding in findings[:FINDINGS]],
        "findings_left_out": max(len(findings) - FINDINGS, 0),
        "isolation": isolated(snapshot.isolation) if snapshot.HasField("isolation") else None,
        "actions": [_action(one) for one in islice(fold(snapshot.actions), ACTIONS)],
    }


def number(value: float, digits: int = 1) -> float | None:
    """None where there is no number: JSON knows neither NaN nor infinity."""
    return round(value, digits) if math.isfinite(value) else None


def _cluster(cluster: GetClusterResponse) -> dict[str, Any]:
    return {
        "controller_id": cluster.controller_id,
        "controller_version": cluster.controller_version,
        "epoch": cluster.epoch,
        "unix_s": cluster.unix_ns / 1e9,
        "node_count": cluster.node_count,
        "live_count": cluster.live_count,
        "firing_count": cluster.firing_count,
    }


def domain(shown: PowerDomain) -> dict[str, Any]:
    return {
        "name": shown.name,
        "mode": words.mode(shown.mode),
        "sentence": shown.sentence,
        "rating_w": number(shown.rating_w),
        "budget_w": number(shown.budget_w),
        "power_w": number(shown.power_w),
        "counted_w": number(shown.counted_w),
        "floors_w": number(shown.floors_w),
        "heat_ratio": number(shown.heat_ratio, 3),
        "hottest": words.hottest(shown),
        "meter": _meter(shown),
        "node_count": shown.node_count,
        "live_count": shown.live_count,
        "tightest": _tightest(shown),
    }


def _meter(shown: PowerDomain) -> dict[str, Any] | None:
    """What measures the domain's own limit, and what it has shown there that is neither ours nor declared."""
    own = next((limit for limit in shown.limits if limit.name == shown.name and limit.HasField("meter")), None)
    if own is None:
        return None
    return {"power_w": number(own.meter.power_w), "age_s": number(own.meter.age_s), "silent": own.meter.silent, "foreign_w": number(own.foreign_w)}


def _tightest(shown: PowerDomain) -> dict[str, Any] | None:
    """Of the limits below the domain's own, the one that carries most of what it may."""
    below = [limit for limit in shown.limits if not limit.contingency and limit.name != shown.name]
    tightest = max(below, key=lambda limit: limit.power_w / limit.rating_w, default=None)
    return None if tightest is None else {"name": tightest.name, "load_ratio": number(tightest.power_w / tightest.rating_w, 3)}


def _nodes(nodes: Sequence[Node]) -> dict[str, list[Any]]:
    """By columns, without the single cards: a thousand nodes come once a second."""
    columns: dict[str, list[Any]] = {name: [getattr(node, name) for node in nodes] for name in _NODE_PLAIN}
    for name in _NODE_NUMBERS:
        columns[name] = [number(getattr(node, name)) for node in nodes]
    columns["state"] = [words.node_state(node.state) for node in nodes]
    columns["mode"] = [words.mode(node.mode) for node in nodes]
    columns["silent_cards"] = [sum(math.isnan(card.power_w) for card in node.cards) for node in nodes]
    return columns


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "id": finding.id,
        "firing": finding.state == FindingState.FINDING_STATE_FIRING,
        "severity": words.severity(finding.severity),
        "kind": finding.kind,
        "subject": words.subject(finding.subject),
        "summary": finding.summary,
        "evidence": [_compared(one) for one in finding.evidence],
        "trend": _trend(finding.trend) if finding.trend.values else None,
        "suggested_action": finding.suggested_action,
        "since_unix_s": finding.since_unix_ns / 1e9,
        "updated_unix_s": finding.updated_unix_ns / 1e9,
    }


def _compared(one: Evidence) -> dict[str, Any]:
    """With the numbers of its picture, which need no unit."""
    return {"said": words.evidence(one), "seen": _significant(one.value), "expected": _significant(one.expected) if one.HasField("expected") else None}


def _trend(shown: Trend) -> dict[str, Any]:
    return {
        "name": shown.name,
        "values": [_significant(value) for value in shown.values],
        "threshold": _significant(shown.threshold),
        "until_unix_s": shown.until_unix_ns / 1e9,
    }


def _significant(value: float) -> float | None:
    """To what a picture can show. None where there is no number."""
    return float(f"{value:.4g}") if math.isfinite(value) else None


def _action(one: Fold) -> dict[str, Any]:
    return {
        "unix_s": one.line.unix_ns / 1e9,
        "kind": one.line.kind,
        "performed": one.line.performed,
        "who": one.who(),
        "subjects": one.subjects[:SUBJECTS],
        "reason": one.line.reason,
        "evidence": _evidence(one.line.evidence) if len(one.subjects) == 1 else [],
        "actor": one.line.actor,
    }


def _evidence(several: Sequence[Evidence]) -> list[str]:
    return [words.evidence(one) for one in several]
