"""PagerDuty's Events API v2: an incident opened by `trigger` and closed by `resolve` with the same `dedup_key`."""

import json
from datetime import UTC, datetime
from typing import Final

from gpuwarden.controller.actuators.post import Occasion, Post, word_id
from gpuwarden.controller.events import Notify

MAX_SUMMARY_CHARS: Final = 1024
MAX_KEY_CHARS: Final = 255
_SEVERITIES: Final = {"info": "info", "warning": "warning", "critical": "critical"}


def form(alert: Notify, occasion: Occasion) -> Post:
    event: dict[str, object] = {
        "routing_key": occasion.routing_key,
        "event_action": "trigger" if alert.firing else "resolve",
        "dedup_key": f"{occasion.cluster}/{alert.key}"[:MAX_KEY_CHARS],
    }
    if alert.firing:
        event["payload"] = {
            "summary": f"{alert.title}: {alert.text}"[:MAX_SUMMARY_CHARS],
            "source": alert.subject or "gpuwarden",
            "severity": _SEVERITIES.get(alert.severity, "info"),
            "timestamp": datetime.fromtimestamp(alert.unix_ns / 1e9, UTC).isoformat(),
            "custom_details": {"text": alert.text, "level": alert.level, "cluster": occasion.cluster},
        }
    return Post("application/json", json.dumps(event, ensure_ascii=False).encode(), word_id(alert))
