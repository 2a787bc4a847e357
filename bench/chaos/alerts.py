"""What a receiver was told, by what it says and not by its id: every new fault of a card once, and no word that says nothing new."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

XID: Final = 79  # GPU has fallen off the bus: a finding, told at once, and true until the driver is loaded anew
CARD = re.compile(r"([\w-]+)/GPU-[0-9a-f-]+-([0-9a-f]{12})\b")

Card = tuple[str, int]  # node and number


def told(events: Iterable[Mapping[str, Any]]) -> Counter[Card]:
    """How often each card's XID was told. A word that names cards together tells of the new ones; one without any, of all again."""
    known, times = set[Card](), Counter[Card]()
    for event in events:
        named = _named(event["data"])
        times.update(named - known or named)
        known |= named
    return times


def _named(data: Mapping[str, Any]) -> set[Card]:
    """The cards of which these words say that they have the XID."""
    if not data["firing"] or f"xid_{XID}" not in data["title"]:
        return set()
    return {(node, int(card, 16)) for node, card in CARD.findall(f"{data['subject']} {data['text']}")}


def repeats(events: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Words that say what the word before them of the same alert said."""
    last: dict[str, tuple[Any, ...]] = {}
    for event in events:
        data = event["data"]
        says = event["type"], event.get("subject"), data["severity"], data["title"], data["text"]
        if last.get(data["key"]) == says:
            yield f"{data['title']} ({event['type'].rpartition('.')[2]})"
        last[data["key"]] = says
