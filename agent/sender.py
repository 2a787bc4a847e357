"""Telemetry, and what ranks say, to the bus, from a thread of its own: power control never waits for Kafka."""

import logging
import threading
from collections.abc import Callable
from typing import Final

from prometheus_client import Counter

from gpuwarden.agent.spool import Spool
from gpuwarden.agent.spool_store import Kept
from gpuwarden.core.bus import Bus, BusError, NotYet, Producer, TooLarge

PAUSE_S: Final = 1.0
TAKE_S: Final = 0.5  # a failed producer, or the end, is noticed so often
CLOSE_S: Final = 2.0
UNDER_WAY: Final = 1000  # records that the producer may hold: all of them are in the spool too

REFUSED: Final = Counter("gpuwarden_agent_spool_refused_total", "Records given up because the bus takes none so large")

Connect = Callable[[threading.Event], Bus]
"""Waits for the bus as long as it takes; BusError once the event is set."""

_log = logging.getLogger("gpuwarden.agent")


class Sender:
    """Sends until `close`. A record leaves the spool when it is acknowledged, so one may come twice but none is passed over."""

    def __init__(self, connect_bus: Connect, topic: str, key_of: Callable[[bytes], str], spool: Spool) -> None:
        """`key_of`: a payload's key."""
        self._connect, self._topic, self._key_of, self._spool = connect_bus, topic, key_of, spool
        self._room = threading.BoundedSemaphore(UNDER_WAY)
        self._refused = 0
        self._alone = 0  # so many more are sent one by one
        self._lone_id: int | None = None  # the record that nothing else is under way with
        self._stop, self._failed = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="sender", daemon=True)
        self._thread.start()

    def send(self, payload: bytes, events: bool) -> None:
        self._spool.put(payload, events)

    def close(self) -> None:
        """What is not at the brokers within CLOSE_S waits in the spool's file, or is lost; which, is said."""
        self._stop.set()
        self._thread.join(CLOSE_S)
        if len(self._spool):
            fate = "wait in the spool's file" if self._spool.survives else "are given up: the bus did not take them in time"
            _log.warning("%d records of %s %s", len(self._spool), self._topic, fate)
        if not self._thread.is_alive():
            self._spool.close()

    def _run(self) -> None:
        while (producer := self._connected()) is not None:
            self._send_all(producer)
            producer.close()  # what it did not get acknowledged comes back into the spool
            if self._stop.is_set():
                return

    def _connected(self) -> Producer | None:
        """Waits for the bus; None once `close` was called."""
        while True:
            try:
                return self._connect(self._stop).producer()
            except BusError as why:
                if self._stop.wait(PAUSE_S):
                    return None
                _log.warning("%s waits: %s", self._topic, why)

    def _send_all(self, producer: Producer) -> None:
        """Until `close`, or until this producer fails: what it holds would overtake what it gave up."""
        self._failed.clear()
        while not self._failed.is_set() and (not self._stop.is_set() or len(self._spool)):
            if not self._room.acquire(timeout=PAUSE_S):
                continue
            kept = self._spool.take(TAKE_S)
            if kept is None:
                self._room.release()
            elif not self._handed_over(kept, producer):
                self._stop.wait(PAUSE_S)
                return

    def _handed_over(self, kept: Kept, producer: Producer) -> bool:
        """Whether this producer is of further use; what became of the record is known in either case, or will be said."""
        self._lone_id = kept.id if self._alone and not self._failed.is_set() else None  # a producer that has failed fails all alike
        try:
            producer.send(self._topic, self._key_of(kept.payload), kept.payload, self._on_done(kept))
        except TooLarge as why:
            self._room.release()
            self._give_up(kept, why)
        except BusError as why:
            _log.warning("%s waits: %s", self._topic, why)
            self._spool.again(kept.id)
            self._room.release()
            return False
        return not self._alone or self._settled_alone(producer)

    def _settled_alone(self, producer: Producer) -> bool:
        """Waits until nothing is under way; False if `close` came first."""
        self._alone -= 1
        while not self._stop.is_set():
            try:
                producer.flush(PAUSE_S)
            except NotYet:
                continue
            except BusError:
                pass  # told to `_on_done`
            return True
        return False

    def _on_done(self, kept: Kept) -> Callable[[Exception | None], None]:
        def on_done(failure: Exception | None) -> None:
            self._room.release()
            if failure is None:
                self._spool.done(kept.id)
            else:
                self._failed.set()
                self._on_failure(kept, failure)

        return on_done

    def _on_failure(self, kept: Kept, failure: Exception) -> None:
        """A record that the brokers call too large takes all with it that are under way: the culprit is the one that was alone."""
        if isinstance(failure, TooLarge) and kept.id == self._lone_id:
            self._give_up(kept, failure)
            return
        self._alone = UNDER_WAY if isinstance(failure, TooLarge) else self._alone
        self._spool.again(kept.id)

    def _give_up(self, kept: Kept, why: TooLarge) -> None:
        REFUSED.inc()
        self._refused += 1
        if self._refused.bit_count() == 1:  # the first, second, fourth, eighth
            _log.error("%s: %d records are given up, the newest, of %d bytes, because %s", self._topic, self._refused, len(kept.payload), why)
        self._spool.done(kept.id)
