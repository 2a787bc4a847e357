"""The ledger's lines onto the bus, in order, each at least once. The decider does not wait for it."""

import logging
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from threading import Event, Thread
from typing import Final

from prometheus_client import Counter

from gpuwarden.controller.ledger import Ledger
from gpuwarden.core.bus import Bus, BusError, Producer, check_size
from gpuwarden.proto import topics
from gpuwarden.proto.control_pb2 import Action

BATCH: Final = 500
PERIOD_S: Final = 0.5
FLUSH_S: Final = 3.0
STOP_S: Final = 1.5
_PAUSE_S: Final = 1.0

MIRRORED: Final = Counter("gpuwarden_controller_mirrored_lines_total", "Ledger lines acknowledged by the bus")

_log = logging.getLogger("gpuwarden.mirror")


class Mirror:
    """Runs in a thread of its own until `stop` is set. How far it came is in the ledger: a restart goes on from there."""

    def __init__(self, connect: Callable[[Event], Bus], ledger: Ledger, stop: Event) -> None:
        self._connect, self._ledger, self._stop = connect, ledger, stop
        self._thread = Thread(target=self._run, name="mirror", daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Once `stop` is set. A bus that does not answer is not waited for: what it has not acknowledged is sent again."""
        self._thread.join(STOP_S)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with closing(self._connect(self._stop).producer()) as producer:
                    self._follow(producer)
            except (BusError, sqlite3.Error) as why:
                if not self._stop.is_set():
                    _log.warning("mirror of the ledger: %s", why)
                    self._stop.wait(_PAUSE_S)

    def _follow(self, producer: Producer) -> None:
        while not self._stop.is_set():
            lines = self._ledger.after(self._ledger.mirrored(), BATCH)
            if lines:
                self._send(producer, lines)
            if len(lines) < BATCH:
                self._stop.wait(PERIOD_S)

    def _send(self, producer: Producer, lines: Sequence[Action]) -> None:
        for line in lines:
            payload = line.SerializeToString()
            try:
                check_size(topics.ACTIONS, line.subject, payload)
            except BusError as why:
                _log.warning("ledger line %d stays in the ledger alone: %s", line.id, why)
            else:
                producer.send(topics.ACTIONS, line.subject, payload)
        producer.flush(FLUSH_S)
        self._ledger.set_mirrored(lines[-1].id)
        MIRRORED.inc(len(lines))
