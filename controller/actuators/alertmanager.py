"""Alertmanager's API v2, POST /api/v2/alerts: what labels say is one alert; one that is not said again is over after five minutes."""

import json
from datetime import UTC, datetime
from typing import Final

from gpuwarden.controller.actuators.post import Post, word_id
from gpuwarden.controller.events import Notify

SAY_AGAIN_S: Final = 60.0
"""Well below `resolve_timeout`, 5 minutes as installed: if we die, what we said ends by itself there, and the heartbeat tells why."""


def form(alert: Notify, routing_key: str) -> Post:
    """`alertname` is what the title says of the subject; times are when it began and, once resolved, when it ended."""
    name = alert.title.removeprefix(f"{alert.subject}: ").removesuffix(f" on {alert.subject}")
    labels = {"alertname": name, "severity": alert.severity, "subject": alert.subject, "gpuwarden_key": alert.key}
    told = {
        "labels": {key: value for key, value in labels.items() if value},
        "annotations": {"summary": alert.title, "description": alert.text},
        ("startsAt" if alert.firing else "endsAt"): datetime.fromtimestamp(alert.unix_ns / 1e9, UTC).isoformat(),
    }
    return Post("application/json", json.dumps([told], ensure_ascii=False).encode(), word_id(alert))
