"""Telemetry that waits for the bus: bounded, oldest out first, records with device events last of all."""

import threading
from collections import deque
from typing import Final

from prometheus_client import Counter, Gauge

from gpuwarden.proto.telemetry_pb2 import Telemetry

WAITING: Final = Gauge("gpuwarden_agent_spool_records", "Telemetry records that wait for the bus")
DROPPED: Final = Counter("gpuwarden_agent_spool_dropped_total", "Telemetry records dropped because the bus was away too long", ["events"])


class Spool:
    """For any thread."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._changed = threading.Condition()
        self._waiting: deque[tuple[bytes, bool]] = deque()  # payload, whether it tells of device events

    def put(self, payload: bytes) -> None:
        with self._changed:
            self._waiting.append(_marked(payload))
            self._settle()

    def put_back(self, payload: bytes) -> None:
        """What could not be sent is the oldest there is."""
        with self._changed:
            self._waiting.appendleft(_marked(payload))
            self._settle()

    def take(self, timeout_s: float) -> bytes | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting, timeout_s)
            if not self._waiting:
                return None
            payload, _ = self._waiting.popleft()
            WAITING.set(len(self._waiting))
            return payload

    def __len__(self) -> int:
        return len(self._waiting)

    def _settle(self) -> None:
        if len(self._waiting) > self._limit:
            quiet = (place for place, (_, events) in enumerate(self._waiting) if not events)
            place = next(quiet, 0)
            DROPPED.labels("yes" if self._waiting[place][1] else "no").inc()
            del self._waiting[place]
        WAITING.set(len(self._waiting))
        self._changed.notify()


def _marked(payload: bytes) -> tuple[bytes, bool]:
    return payload, bool(Telemetry.FromString(payload).events)
