"""CloudEvents 1.0, JSON format, HTTP structured mode. (source, id) is the same however often one is sent: receivers may drop repeats."""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote

from gpuwarden.controller.actuators.post import Occasion, Post, word_id
from gpuwarden.controller.events import Notify

SOURCE: Final = "gpuwarden"
TYPE: Final = "gpuwarden.alert"


def form(alert: Notify, occasion: Occasion) -> Post:
    """`source` has the cluster, `type` ends in `.firing` or `.resolved`, `data` has the alert's fields, `data.key` is the same in both."""
    state = "firing" if alert.firing else "resolved"
    event = {
        "specversion": "1.0",
        "id": word_id(alert),
        "source": f"{SOURCE}/{quote(occasion.cluster, safe='')}",
        "type": f"{TYPE}.{state}",
        "time": datetime.fromtimestamp(alert.unix_ns / 1e9, UTC).isoformat(),
        "datacontenttype": "application/json",
        "data": asdict(alert),
    }
    if alert.subject:
        event["subject"] = alert.subject  # the specification wants it absent or not empty
    return Post("application/cloudevents+json", json.dumps(event, ensure_ascii=False).encode(), str(event["id"]))
