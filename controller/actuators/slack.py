"""Slack's incoming webhook: one text, as its notifications show it."""

import json
from typing import Final

from gpuwarden.controller.actuators.post import Occasion, Post, word_id
from gpuwarden.controller.events import Notify

MAX_CHARS: Final = 3000  # Slack cuts a text block there
_MARKS: Final = {"info": ":information_source:", "warning": ":warning:", "critical": ":rotating_light:"}


def form(alert: Notify, occasion: Occasion) -> Post:
    mark = _MARKS.get(alert.severity, _MARKS["info"]) if alert.firing else ":white_check_mark:"
    state = alert.severity if alert.firing else "resolved"
    text = f"{mark} *{_escaped(alert.title)}* ({state})\n{_escaped(alert.text)}"
    body = json.dumps({"text": text[:MAX_CHARS]}, ensure_ascii=False).encode()
    return Post("application/json", body, word_id(alert))


def _escaped(text: str) -> str:
    """The three characters that could make a text into a link or a mention."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
