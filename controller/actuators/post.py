"""What is posted to a webhook."""

from dataclasses import dataclass

from gpuwarden.controller.events import Notify


@dataclass(frozen=True, slots=True)
class Post:
    """`id` is the same however often one is sent: receivers may drop repeats."""

    content_type: str
    body: bytes
    id: str


@dataclass(frozen=True, slots=True)
class Occasion:
    """What a form says beside the word itself. `cluster` tells our alerts from another controller's; `heard` is what the receiver last heard of this one."""

    cluster: str
    routing_key: str = ""
    heard: Notify | None = None


def word_id(alert: Notify) -> str:
    """Another one for everything that is said of an alert; the same for every attempt to say it."""
    return f"{alert.key}/{'firing' if alert.firing else 'resolved'}/{alert.told_unix_ns}"
