"""Performs the detector's actions: findings, summaries and dead letters to the bus, and offsets when those are durable."""

import base64
import json
import logging
import threading
from collections.abc import Callable
from typing import Final, assert_never

from gpuwarden.core.bus import BusError, Consumer, NotYet, Producer
from gpuwarden.core.machine import Say
from gpuwarden.detector.events import (
    Action,
    Commit,
    DeadLetter,
    HandOver,
    PublishFinding,
    PublishProgress,
    PublishSummaries,
)
from gpuwarden.proto import topics

FLUSH_S: Final = 15.0
PAUSE_S: Final = 1.0
MOST_UNSETTLED: Final = 1000
SHOWN_BYTES: Final = 256 << 10  # of a refused payload, so that its letter is small enough for the bus

_log = logging.getLogger("gpuwarden.detector")


class Outlet:
    """What is sent is kept until the brokers have acknowledged it, and sent again if they have not: the machine says it once."""

    def __init__(
        self,
        producer: Producer,
        consumer: Consumer,
        stop: threading.Event,
        turned: Callable[[], object] = lambda: None,
        handed_over: Callable[[], object] = lambda: None,
    ) -> None:
        self._producer, self._consumer, self._stop, self._turned, self._handed_over = producer, consumer, stop, turned, handed_over
        self._unsettled: list[tuple[str, str, bytes]] = []

    def perform(self, action: Action) -> None:
        match action:
            case PublishFinding(key, payload):
                self._send(topics.FINDINGS, key, payload)
            case PublishProgress(job, payload):
                self._send(topics.PROGRESS, job, payload)
            case PublishSummaries(group, payload):
                self._send(topics.SCORES, group, payload)
            case DeadLetter():
                self._send(topics.DEAD_LETTER, action.record.topic, _letter(action))
            case Commit(next_offsets):
                self.settle()
                self._consumer.commit(next_offsets)
            case HandOver():
                self.settle()
                self._handed_over()
            case Say():
                raise AssertionError("the service loop says sentences itself")
            case _:
                assert_never(action)

    def _send(self, topic: str, key: str, value: bytes) -> None:
        if len(self._unsettled) >= MOST_UNSETTLED:
            self.settle()
        self._unsettled.append((topic, key, value))
        try:
            self._producer.send(topic, key, value)
        except BusError as why:
            _log.warning("will be sent again: %s", why)
            self.settle(again=True)

    def settle(self, again: bool = False) -> None:
        """Returns when everything sent is durable; BusError if the daemon is told to stop before that."""
        while True:
            self._turned()  # brokers that are away are waited for here, and a restart would not bring them back
            try:
                if again:
                    for topic, key, value in self._unsettled:
                        self._producer.send(topic, key, value)
                self._producer.flush(FLUSH_S)
                self._unsettled.clear()
                return
            except BusError as why:
                again = not isinstance(why, NotYet)
                _log.warning("%d findings, summaries and dead letters are not durable yet: %s", len(self._unsettled), why)
            if self._stop.wait(PAUSE_S):
                raise BusError(f"stopped with {len(self._unsettled)} findings, summaries and dead letters that are not durable")


def _letter(letter: DeadLetter) -> bytes:
    """JSON: where the record stood, why it was refused, and the record."""
    record = letter.record
    told = {
        "topic": record.topic, "partition": record.partition, "offset": record.offset, "key": record.key[:1000],
        "reason": letter.reason, "payload_bytes": len(record.payload),
        "payload_base64": base64.b64encode(record.payload[:SHOWN_BYTES]).decode(),
    }
    return json.dumps(told).encode()
