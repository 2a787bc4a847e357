"""The child's side of `agent.child`: an object, what is asked of it, and what it tells by itself."""

import importlib
import json
import os
import select
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Final

from gpuwarden.core.plain import Plain, Reader, to_plain

TOLD: Final = "told"
ANSWER_BYTES: Final = 1 << 24  # more than that is no answer


@dataclass(slots=True)
class _Telling:
    what: Callable[[], object]
    every_s: float
    due_s: float = field(default_factory=time.monotonic)

    def wait_s(self) -> float:
        return self.due_s - time.monotonic()

    def tell(self, pipe: Connection) -> None:
        now_s = time.monotonic()
        self.due_s = max(self.due_s, now_s - self.every_s) + self.every_s  # one that is late by more has missed its turn
        _say(pipe, (TOLD, now_s, self.what()))


def serve(descriptor: int) -> None:
    """Makes the object, then answers and tells until the parent is gone or the object raises."""
    threading.Thread(target=_die_with_parent, args=(descriptor,), daemon=True).start()
    pipe = Connection(descriptor)

    def tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        _say(pipe, (kind.__name__, str(error)))

    sys.excepthook = tell
    factory, arguments = Reader(()).read(receive(pipe))
    module, _, name = factory.partition(":")
    subject = getattr(importlib.import_module(module), name)(*arguments)
    _say(pipe, (None, None))
    _serve(pipe, subject)


def _serve(pipe: Connection, subject: object) -> None:
    asked = select.poll()
    asked.register(pipe, select.POLLIN)
    telling: _Telling | None = None
    while True:
        if telling is not None and telling.wait_s() <= 0.0:
            telling.tell(pipe)
        if not asked.poll(None if telling is None else 1000 * max(0.0, telling.wait_s())):
            continue
        try:
            method, arguments = Reader(()).read(receive(pipe))
        except (EOFError, ConnectionError):
            return
        if method == TOLD:
            telling = _telling(subject, *arguments)
        _say(pipe, (None, None if method == TOLD else getattr(subject, method)(*arguments)))


def _telling(subject: object, method: str, arguments: tuple[object, ...], every_s: float) -> _Telling:
    bound = getattr(subject, method)
    return _Telling(lambda: bound(*arguments), every_s)


def send(pipe: Connection, value: object) -> None:
    """OSError, among them ConnectionError if the other side is gone."""
    pipe.send_bytes(json.dumps(to_plain(value)).encode())


def receive(pipe: Connection) -> Plain:
    """EOFError or ConnectionError if the other side is gone; OSError or ValueError for what is no message."""
    return json.loads(pipe.recv_bytes(ANSWER_BYTES))


def _say(pipe: Connection, value: object) -> None:
    """Nobody is left to hear it once the pipe is closed: `_die_with_parent` sees that too, a moment later."""
    try:
        send(pipe, value)
    except ConnectionError:
        os._exit(0)


def _die_with_parent(descriptor: int) -> None:
    """The pipe's other end closes when the parent dies, however it dies; this thread sees it while a call is in the driver."""
    watch = select.poll()
    watch.register(descriptor, 0)
    watch.poll()
    os._exit(0)
