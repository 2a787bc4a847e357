"""Alertmanager's API v2, POST /api/v2/alerts: what labels say is one alert; one that is not said again is over after five minutes."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from gpuwarden.controller.actuators.post import Occasion, Post, word_id
from gpuwarden.controller.events import Notify

SAY_AGAIN_S: Final = 60.0
"""Well below `resolve_timeout`, 5 minutes as installed: if we die, what we said ends by itself there, and the heartbeat tells why."""


def form(alert: Notify, occasion: Occasion) -> Post:
    """Labels stay as they are while an alert grows. Only its severity may change: then the one of before is ended in the same post."""
    said = [_said(alert, alert.severity, occasion.cluster)]
    if occasion.heard is not None and occasion.heard.firing and occasion.heard.severity != alert.severity:
        over = replace(alert, firing=False, unix_ns=alert.told_unix_ns or alert.unix_ns)
        said.insert(0, _said(over, occasion.heard.severity, occasion.cluster))
    return Post("application/json", json.dumps(said, ensure_ascii=False).encode(), word_id(alert))


def _said(alert: Notify, severity: str, cluster: str) -> dict[str, object]:
    """Times are when it began and, once resolved, when it ended."""
    labels = {"alertname": alert.kind or alert.key, "severity": severity, "domain": alert.domain, "cluster": cluster, "gpuwarden_key": alert.key}
    return {
        "labels": {key: value for key, value in labels.items() if value},
        "annotations": {"summary": alert.title, "description": alert.text, "subject": alert.subject},
        ("startsAt" if alert.firing else "endsAt"): datetime.fromtimestamp(alert.unix_ns / 1e9, UTC).isoformat(),
    }
