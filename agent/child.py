"""Runs an object in a child process with a deadline for every call, because a driver call can block for ever.

The child is a fresh interpreter, never a fork. One that misses a deadline is abandoned: killed if the kernel lets it be, and
counted; its successors are bounded, since a process that hangs inside the driver cannot be killed. One whose object raised ends,
since nobody knows what state the object is in. What goes through the pipe is JSON (`core.plain`), so a child that a broken driver
library has taken over can send values of the named types and nothing else. One thread at a time may call.
"""

import importlib
import json
import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Final

from gpuwarden.core.plain import Plain, Reader, to_plain

OUTSTANDING_LIMIT: Final = 3
START_S: Final = 10.0
ANSWER_BYTES: Final = 1 << 24  # more than that is no answer
RESTART_S: Final = 1.0  # from one start to the next, where the first one failed
_CLOSE_S: Final = 1.0
_GONE_S: Final = 0.2  # that a killed one takes, unless it hangs in the driver
# The parent's path goes along, so that the child finds whatever module the factory lives in.
_BOOT: Final = "import sys; sys.path[:] = sys.argv[2:]; from gpuwarden.agent.child import serve; serve(int(sys.argv[1]))"


class Hung(Exception):
    """The call missed its deadline, or too many children hang already to start another one."""


class ChildFailed(Exception):
    """The call raised in the child, or the child died, could not be started, or says what cannot be read.

    `kind` is the exception's type name, or `Died`.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind
        self.message = message


class Child:
    """Calls methods of `factory(*arguments)`, which lives in a child process.

    `factory` is `module:name`, a name only: what it needs, the driver's library above all, is loaded by the child alone. Its arguments
    and the methods' are plain values; answers are plain values and objects of `types`. The child is started by the first call, and started anew by the first call after it hung or failed.
    `start_s` bounds that start, on top of the call's own deadline.
    """

    def __init__(
        self,
        factory: str,
        *arguments: object,
        types: Iterable[type] = (),
        start_s: float = START_S,
        kill: Callable[["subprocess.Popen[bytes]"], None] = subprocess.Popen.kill,
    ) -> None:
        self._factory, self._arguments, self._start_s, self._kill, self._reader = factory, arguments, start_s, kill, Reader(types)
        self._running: tuple[subprocess.Popen[bytes], Connection, select.poll] | None = None
        self._abandoned: list[subprocess.Popen[bytes]] = []
        self._failure: tuple[str, str] | None = None  # of the newest child: kind, message
        self._started_s = -RESTART_S

    @property
    def outstanding(self) -> int:
        """Abandoned children that have not died yet."""
        self._abandoned = [child for child in self._abandoned if child.poll() is None]
        return len(self._abandoned)

    def call(self, method: str, *arguments: object, deadline_s: float) -> Any:
        """What the method returns. Raises Hung or ChildFailed."""
        if self._running is None:
            self._start()
        return self._exchange(method, arguments, deadline_s)

    def close(self) -> None:
        """Ends the child, and kills one that does not end by itself."""
        if self._running is not None:
            self._drop(_CLOSE_S)
        for child in self._abandoned:
            _wait(child, _GONE_S)

    def _start(self) -> None:
        if self._failure is not None and time.monotonic() < self._started_s + RESTART_S:
            raise ChildFailed(*self._failure)
        if self.outstanding >= OUTSTANDING_LIMIT:
            raise Hung(f"{self.outstanding} children hang in the driver and cannot be killed: no further one is started")
        self._started_s = time.monotonic()
        try:
            self._running = _spawn()
        except OSError as why:  # no memory, no process or no descriptor to be had now
            self._failure = type(why).__name__, f"no child can be started: {why}"
            raise ChildFailed(*self._failure) from None
        self._exchange(self._factory, self._arguments, self._start_s)
        self._failure = None

    def _exchange(self, what: str, arguments: tuple[object, ...], deadline_s: float) -> Any:
        assert self._running is not None
        _, pipe, readable = self._running
        try:
            _send(pipe, (what, arguments))
            if not readable.poll(1000 * deadline_s):
                self._abandon()
                raise Hung(f"{what.rpartition(':')[2]} gave no answer within {deadline_s:g} s")
            failure, answer = self._answer(pipe)
        except (EOFError, ConnectionError):
            status = self._drop(_CLOSE_S)
            failure, answer = "Died", f"the child process ended with status {status}"
        if failure is None:
            return answer
        if self._running is not None:
            self._drop(_CLOSE_S)
        self._failure = failure, answer
        raise ChildFailed(failure, answer)

    def _answer(self, pipe: Connection) -> tuple[str | None, Any]:
        """(None, what was asked for) or (kind, message). EOFError or ConnectionError if the child is gone."""
        try:
            failure, answer = self._reader.read(_receive(pipe))
        except (EOFError, ConnectionError):
            raise
        except (OSError, TypeError, ValueError, RecursionError) as why:
            return type(why).__name__, f"the child's answer cannot be read: {why}"
        return failure, answer

    def _abandon(self) -> None:
        assert self._running is not None
        (child, pipe, _), self._running = self._running, None
        self._kill(child)
        pipe.close()
        if not _wait(child, 0.05):  # one that can be killed is gone by then
            self._abandoned.append(child)

    def _drop(self, patience_s: float) -> int | None:
        assert self._running is not None
        (child, pipe, _), self._running = self._running, None
        pipe.close()
        if not _wait(child, patience_s):
            self._kill(child)
            if not _wait(child, patience_s):
                self._abandoned.append(child)
        return child.returncode


def _spawn() -> tuple["subprocess.Popen[bytes]", Connection, select.poll]:
    """Its end of the pipe, and what waits for it to say something: the pipe's own `poll` makes a selector for every call."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        command = [sys.executable, "-c", _BOOT, str(theirs.fileno()), *sys.path]
        # A process group of its own: Ctrl-C is for the parent, whose death the child then sees.
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()], process_group=0)
        pipe, readable = Connection(ours.detach()), select.poll()
    readable.register(pipe, select.POLLIN)
    return child, pipe, readable


def _wait(child: "subprocess.Popen[bytes]", patience_s: float) -> bool:
    try:
        child.wait(patience_s)
    except subprocess.TimeoutExpired:
        return False
    return True


def serve(descriptor: int) -> None:
    """The child's side: makes the object, then answers calls until the parent is gone or the object raises."""
    threading.Thread(target=_die_with_parent, args=(descriptor,), daemon=True).start()
    pipe = Connection(descriptor)

    def tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        _send(pipe, (kind.__name__, str(error)))

    sys.excepthook = tell
    factory, arguments = Reader(()).read(_receive(pipe))
    module, _, name = factory.partition(":")
    subject = getattr(importlib.import_module(module), name)(*arguments)
    _send(pipe, (None, None))
    while (call := _next_call(pipe)) is not None:
        method, arguments = call
        _send(pipe, (None, getattr(subject, method)(*arguments)))


def _next_call(pipe: Connection) -> tuple[str, tuple[object, ...]] | None:
    try:
        method, arguments = Reader(()).read(_receive(pipe))
    except (EOFError, ConnectionError):
        return None
    return method, arguments


def _send(pipe: Connection, value: object) -> None:
    pipe.send_bytes(json.dumps(to_plain(value)).encode())


def _receive(pipe: Connection) -> Plain:
    return json.loads(pipe.recv_bytes(ANSWER_BYTES))


def _die_with_parent(descriptor: int) -> None:
    """The pipe's other end closes when the parent dies, however it dies; this thread sees it while a call is in the driver."""
    watch = select.poll()
    watch.register(descriptor, 0)
    watch.poll()
    os._exit(0)
