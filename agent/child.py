"""Runs an object in a child process with a deadline for every call, because a driver call can block for ever.

The child is a fresh interpreter, never a fork. One that misses a deadline is abandoned: killed if the kernel lets it be, and
counted; its successors are bounded, since a process that hangs inside the driver cannot be killed. One whose object raised ends,
since nobody knows what state the object is in. What goes through the pipe is JSON (`core.plain`), so a child that a broken driver
library has taken over can send values of the named types and nothing else. One thread at a time may call.

What is wanted again and again a child tells by itself (`told`): a call wakes its caller twice, and wakings are most of what a small call costs.
"""

import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Final, NoReturn

from gpuwarden.agent.child_side import TOLD, receive, send
from gpuwarden.core.plain import Reader

OUTSTANDING_LIMIT: Final = 3
START_S: Final = 10.0
RESTART_S: Final = 1.0  # from one start to the next, where the first one failed
_CLOSE_S: Final = 1.0
_GONE_S: Final = 0.2  # that a killed one takes, unless it hangs in the driver
# The parent's path goes along, so that the child finds whatever module the factory lives in.
_BOOT: Final = "import sys; sys.path[:] = sys.argv[2:]; from gpuwarden.agent.child_side import serve; serve(int(sys.argv[1]))"


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


@dataclass(slots=True)
class _Running:
    process: "subprocess.Popen[bytes]"
    pipe: Connection  # our end
    said: select.poll  # waits for it to say something: the pipe's own `poll` makes a selector for every call
    said_or_interrupted: "select.poll | None" = None  # there once it tells by itself
    told: tuple[Any, ...] = ()  # the newest that it told while an answer was awaited


class _Deadline:
    def __init__(self, of: str, whole_s: float) -> None:
        self.of, self.whole_s = of, whole_s
        self._end_s = time.monotonic() + whole_s

    def left_s(self) -> float:
        return max(0.0, self._end_s - time.monotonic())

    def recent(self, told_s: float, value: object) -> tuple[object, ...]:
        """What was told, unless that is longer ago than one may wait for it."""
        return (value,) if time.monotonic() - told_s <= self.whole_s else ()


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
        self._running: _Running | None = None
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
        self._see_to_one()
        return self._exchange(method, arguments, deadline_s)

    def told(self, method: str, *arguments: object, every_s: float, deadline_s: float, interrupt: int) -> Any | None:
        """What the method returned newly, as the child calls it by itself `every_s`; None once the descriptor `interrupt` can be read.

        The same method, arguments and descriptor every time. Raises Hung where nothing is told for `deadline_s`, ChildFailed.
        """
        running = self._see_to_one()
        if running.said_or_interrupted is None:
            self._exchange(TOLD, (method, arguments, every_s), deadline_s)
            running.said_or_interrupted = _waiting(running.pipe.fileno(), interrupt)
        deadline = _Deadline(method, deadline_s)
        while not running.told:
            if interrupt in self._ready(running, running.said_or_interrupted, deadline):
                return None
            self._hear_told(running, deadline)
        (value,), running.told = running.told, ()
        return value

    def close(self) -> None:
        """Ends the child, and kills one that does not end by itself."""
        if self._running is not None:
            self._drop(_CLOSE_S)
        for child in self._abandoned:
            _wait(child, _GONE_S)

    def _see_to_one(self) -> _Running:
        if self._running is None:
            self._start()
        assert self._running is not None
        return self._running

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
        running, deadline = self._running, _Deadline(what.rpartition(":")[2], deadline_s)
        assert running is not None
        try:
            send(running.pipe, (what, arguments))
        except ConnectionError:
            self._died()
        while True:
            self._ready(running, running.said, deadline)
            said = self._hear(running)
            if said[0] != TOLD:
                return self._answer(*said)
            running.told = deadline.recent(*said[1:]) or running.told

    def _hear_told(self, running: _Running, deadline: "_Deadline") -> None:
        """The newest that waits: if nobody took them for a while, the pipe is full of what was true then."""
        while True:
            said = self._hear(running)
            if said[0] != TOLD:
                self._answer(*(said if said[0] is not None else ("Unknown", "the child answers what it was not asked")))
            running.told = deadline.recent(*said[1:]) or running.told
            if deadline.left_s() == 0.0 or not running.said.poll(0):
                return

    def _ready(self, running: _Running, waiting: select.poll, deadline: "_Deadline") -> list[int]:
        """Which descriptors can be read."""
        left_s = deadline.left_s()
        if left_s > 0.0 and (ready := waiting.poll(1000 * left_s)):  # one that tells and tells is none that answers
            return [descriptor for descriptor, _ in ready]
        self._abandon(running)
        raise Hung(f"{deadline.of} gave no answer within {deadline.whole_s:g} s")

    def _hear(self, running: _Running) -> tuple[Any, ...]:
        """(TOLD, when, what), (None, what was asked for) or (kind, message) of a failure."""
        try:
            said = self._reader.read(receive(running.pipe))
            told, *rest = said
            if len(rest) != (2 if told == TOLD else 1) or (told == TOLD and not isinstance(rest[0], float)):
                raise ValueError(f"{len(said)} parts")
        except (EOFError, ConnectionError):
            self._died()
        except (OSError, TypeError, ValueError, RecursionError) as why:
            return type(why).__name__, f"the child's answer cannot be read: {why}"
        return (told, *rest)

    def _answer(self, failure: str | None, answer: Any) -> Any:
        if failure is None:
            return answer
        if self._running is not None:
            self._drop(_CLOSE_S)
        self._failure = failure, answer
        raise ChildFailed(failure, answer)

    def _died(self) -> NoReturn:
        self._failure = "Died", f"the child process ended with status {self._drop(_CLOSE_S)}"
        raise ChildFailed(*self._failure)

    def _abandon(self, running: _Running) -> None:
        self._running = None
        self._kill(running.process)
        running.pipe.close()
        if not _wait(running.process, 0.05):  # one that can be killed is gone by then
            self._abandoned.append(running.process)

    def _drop(self, patience_s: float) -> int | None:
        assert self._running is not None
        child, pipe, self._running = self._running.process, self._running.pipe, None
        pipe.close()
        if not _wait(child, patience_s):
            self._kill(child)
            if not _wait(child, patience_s):
                self._abandoned.append(child)
        return child.returncode


def _spawn() -> _Running:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        command = [sys.executable, "-c", _BOOT, str(theirs.fileno()), *sys.path]
        # A process group of its own: Ctrl-C is for the parent, whose death the child then sees.
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()], process_group=0)
        pipe = Connection(ours.detach())
    return _Running(child, pipe, _waiting(pipe.fileno()))


def _waiting(*descriptors: int) -> select.poll:
    waiting = select.poll()
    for descriptor in descriptors:
        waiting.register(descriptor, select.POLLIN)
    return waiting


def _wait(child: "subprocess.Popen[bytes]", patience_s: float) -> bool:
    try:
        child.wait(patience_s)
    except subprocess.TimeoutExpired:
        return False
    return True
