"""Reads telemetry, and what ranks say, from the bus into the inbox, one poll an event."""

import logging
import threading
from typing import Final

from gpuwarden.core.bus import BusError, Consumer
from gpuwarden.core.service import Inbox
from gpuwarden.detector.events import Event, Polled, Raw

POLL_S: Final = 0.2
POLL_RECORDS: Final = 2000  # many at once are cheap to judge, and 20 ms or so of work

_log = logging.getLogger("gpuwarden.detector")


class Inlet:
    """A thread of its own: the consumer is for one thread. Waits where the inbox is full, so the bus keeps what is too much."""

    def __init__(self, consumer: Consumer, inbox: Inbox[Event], stop: threading.Event) -> None:
        self._consumer, self._inbox, self._stop = consumer, inbox, stop
        self._thread = threading.Thread(target=self._run, name="inlet", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                records = self._consumer.poll(POLL_S, POLL_RECORDS)
            except BusError as why:
                _log.warning("%s", why)
                self._stop.wait(1.0)
                continue
            if records:
                self._inbox.put(Polled(tuple(Raw(r.partition, r.offset, r.key, r.value, r.topic) for r in records)))

    def close(self) -> None:
        """Waits for the thread, so that the consumer is the caller's."""
        self._thread.join()
