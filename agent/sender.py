"""Telemetry to the bus, from a thread of its own: power control never waits for Kafka."""

import logging
import threading
from collections.abc import Callable
from typing import Final

from gpuwarden.agent.spool import Spool
from gpuwarden.core.bus import Bus, BusError, Producer
from gpuwarden.proto.topics import TELEMETRY

PAUSE_S: Final = 1.0
CLOSE_S: Final = 2.0
UNDER_WAY: Final = 1000  # records that the producer may hold beside the spool

Connect = Callable[[threading.Event], Bus]
"""Waits for the bus as long as it takes; BusError once the event is set."""

_log = logging.getLogger("gpuwarden.agent")


class Sender:
    """Sends until `close`. A record that is not acknowledged goes back into the spool, so that one may come twice."""

    def __init__(self, connect_bus: Connect, node: str, spool_records: int) -> None:
        self._connect, self._node = connect_bus, node
        self._spool = Spool(spool_records)
        self._room = threading.BoundedSemaphore(UNDER_WAY)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sender", daemon=True)
        self._thread.start()

    def send(self, payload: bytes) -> None:
        self._spool.put(payload)

    def close(self) -> None:
        """What is not at the brokers within CLOSE_S is lost, and said."""
        self._stop.set()
        self._thread.join(CLOSE_S)
        if self._thread.is_alive() or len(self._spool):
            _log.warning("%d telemetry records are given up: the bus did not take them in time", len(self._spool))

    def _run(self) -> None:
        producer = self._connected()
        if producer is None:
            return
        while not self._stop.is_set() or len(self._spool):
            payload = self._spool.take(0.1)
            if payload is not None and not self._sent(producer, payload):
                self._stop.wait(PAUSE_S)
                if self._stop.is_set():
                    break
        producer.close()

    def _connected(self) -> Producer | None:
        """Waits for the bus; None once `close` was called."""
        while True:
            try:
                return self._connect(self._stop).producer()
            except BusError as why:
                if self._stop.wait(PAUSE_S):
                    return None
                _log.warning("telemetry waits: %s", why)

    def _sent(self, producer: Producer, payload: bytes) -> bool:
        if not self._room.acquire(timeout=PAUSE_S):
            self._spool.put_back(payload)
            return False
        try:
            producer.send(TELEMETRY, self._node, payload, self._on_done(payload))
        except BusError as why:
            _log.warning("telemetry waits: %s", why)
            self._spool.put_back(payload)
            self._room.release()
            return False
        return True

    def _on_done(self, payload: bytes) -> Callable[[Exception | None], None]:
        def on_done(failure: Exception | None) -> None:
            self._room.release()
            if failure is not None:
                self._spool.put_back(payload)

        return on_done
