"""Findings from the bus into the machine, in order. Offsets are committed after the machine is through with what they led to.

Most findings are said once, so a controller that starts first takes in what still fires, whoever has committed past it.
"""

import logging
from collections.abc import Callable
from contextlib import closing
from threading import Condition, Event, Thread
from typing import Any, Final, Generic, TypeVar

from prometheus_client import Counter

from gpuwarden.controller.events import FindingArrived
from gpuwarden.core.bus import Bus, BusError, Consumer
from gpuwarden.core.left_firing import left_firing
from gpuwarden.core.machine import Machine
from gpuwarden.proto import topics

GROUP: Final = "gpuwarden-controller"
MAX_RECORDS: Final = 100
_POLL_S: Final = 0.5
_PAUSE_S: Final = 1.0
_STOP_S: Final = 1.5

RECORDS: Final = Counter("gpuwarden_controller_findings_total", "Findings that the machine is through with")

_log = logging.getLogger("gpuwarden.findings")

Connect = Callable[[Event], Bus]
E = TypeVar("E")
A = TypeVar("A")


class Through(Generic[E, A]):
    """A machine as it was, that also tells how many findings it is through with: stepped, and their actions performed."""

    def __init__(self, machine: Machine[E, A]) -> None:
        self._machine = machine
        self._changed = Condition()
        self._count = 0
        self._one_under_way = False

    def step(self, now_s: float, event: E) -> list[A]:
        """The loop asks for the next step when the actions of the one before are performed."""
        if self._one_under_way:
            with self._changed:
                self._count += 1
                self._changed.notify_all()
        self._one_under_way = isinstance(event, FindingArrived)
        return self._machine.step(now_s, event)

    def reached(self, count: int, timeout_s: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._count >= count, timeout_s)


class Findings:
    """Reads in a thread of its own until `stop` is set. Without the bus it waits: power does not. Each machine that reads has a `group` of its own."""

    def __init__(
        self, connect: Connect, offer: Callable[[FindingArrived], bool], through: Through[Any, Any], stop: Event,
        group: str = GROUP, records: Counter = RECORDS,
    ) -> None:
        self._connect, self._offer, self._through, self._stop = connect, offer, through, stop
        self._group, self._records = group, records
        self._offered, self._caught_up = 0, False
        self._thread = Thread(target=self._run, name="findings", daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Once `stop` is set. A bus that does not answer is not waited for: what is not committed is read again."""
        self._thread.join(_STOP_S)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                bus = self._connect(self._stop)
                self._catch_up(bus)
                with closing(bus.consumer([topics.FINDINGS], self._group)) as consumer:
                    self._follow(consumer)
            except BusError as why:
                if not self._stop.is_set():
                    _log.warning("findings: %s", why)
                    self._stop.wait(_PAUSE_S)

    def _catch_up(self, bus: Bus) -> None:
        """Once. What the machine has heard of already changes nothing."""
        if not self._caught_up:
            left = left_firing(bus, self._group, self._stop)
            _log.info("%d findings fire since before this start", len(left))
            self._caught_up = all(map(self._put, left))

    def _follow(self, consumer: Consumer) -> None:
        while not self._stop.is_set():
            records = consumer.poll(_POLL_S, MAX_RECORDS)
            if all(self._put(record.value) for record in records) and self._taken():
                consumer.commit({(record.topic, record.partition): record.offset + 1 for record in records})
                self._records.inc(len(records))

    def _put(self, payload: bytes) -> bool:
        """Waits for room; False once `stop` is set. The payload is the machine's to check."""
        while not self._offer(FindingArrived(payload)):
            if self._stop.wait(_PAUSE_S / 10):
                return False
        self._offered += 1
        return True

    def _taken(self) -> bool:
        """False once `stop` is set: what is not committed is read again by the next controller."""
        while not self._through.reached(self._offered, _PAUSE_S / 10):
            if self._stop.is_set():
                return False
        return not self._stop.is_set()
