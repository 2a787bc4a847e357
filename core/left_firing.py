"""What the findings topic tells is still firing: where a daemon that reads or writes findings starts from."""

import secrets
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from google.protobuf.message import DecodeError

from gpuwarden.core.bus import Bus, Consumer
from gpuwarden.proto import topics
from gpuwarden.proto.finding_pb2 import Finding, FindingState

FIRST_POLL_S: Final = 5.0  # brokers as installed let the first member of a group wait 3 s
NEXT_POLL_S: Final = 1.0


def left_firing(bus: Bus, groups: str, stop: threading.Event, turned: Callable[[], object] = lambda: None) -> tuple[bytes, ...]:
    """Findings, as they were published; read as by `published`. `turned` is called as often as records come."""
    return tuple(still_firing(published(bus, groups, stop, turned)).values())


def published(bus: Bus, groups: str, stop: threading.Event, turned: Callable[[], object] = lambda: None) -> Iterator[bytes]:
    """All that the topic still has. Read by a group of this process's own, whose name begins with `groups` and which commits nothing.

    Ends when nothing has come for NEXT_POLL_S, or once `stop` is set.
    """
    reader = bus.consumer((topics.FINDINGS,), f"{groups}-starts-{secrets.token_hex(8)}")
    try:
        yield from _all_of(reader, stop, turned)
    finally:
        reader.close()


def _all_of(reader: Consumer, stop: threading.Event, turned: Callable[[], object]) -> Iterator[bytes]:
    patience_s = FIRST_POLL_S
    while not stop.is_set() and (records := reader.poll(patience_s, 1000)):
        patience_s = NEXT_POLL_S
        turned()
        yield from (record.value for record in records)


def still_firing(payloads: Iterable[bytes]) -> dict[str, bytes]:
    """By id, of all that was ever published, in order; what does not parse was nobody's finding."""
    firing = dict[str, bytes]()
    for payload in payloads:
        try:
            finding = Finding.FromString(payload)
        except DecodeError:
            continue
        if finding.state == FindingState.FINDING_STATE_FIRING:
            firing[finding.id] = payload
        else:
            firing.pop(finding.id, None)
    return firing
