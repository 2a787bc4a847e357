"""A program with a deadline: in a session of its own, killed as a whole, and heard with bounded patience.

It is never left running: not when it ends and leaves children, nor when the agent ends. One that hangs in the driver cannot be killed; then it is said, and
nothing else is begun until it is gone.
"""

import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from gpuwarden.agent.probes.kind import Ended

HEARD_BYTES: Final = 1 << 20  # of each of the two streams, from their ends
_READ_BYTES: Final = 1 << 16
_LOOK_S: Final = 0.05
_TERMINATE_S: Final = 2.0
_GONE_S: Final = 2.0
_KEPT_NAMES: Final = ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV")
_KEPT_PREFIXES: Final = ("CUDA_", "NCCL_", "OMP_")


class Late(Exception):
    """Its deadline has passed, or it was stopped."""


class Immortal(Late):
    """As above, and it cannot be killed: it hangs in the kernel."""

    def __init__(self, child: "subprocess.Popen[bytes]") -> None:
        super().__init__(f"process {child.pid} hangs in the kernel and cannot be killed")
        self.child = child


@dataclass(slots=True)
class _Tail:
    """The end of what a stream tells; all of it is read, lest its writer waits for us."""

    stream: int
    heard: bytearray = field(default_factory=bytearray)
    cut: bool = False

    def __post_init__(self) -> None:
        os.set_blocking(self.stream, False)

    def hear(self) -> bool:
        """What is there, at most one read; False where nothing is."""
        with suppress(BlockingIOError):
            if more := os.read(self.stream, _READ_BYTES):
                self.heard += more
                if len(self.heard) > HEARD_BYTES:
                    del self.heard[:-HEARD_BYTES]
                    self.cut = True
                return True
        return False

    @property
    def text(self) -> str:
        return self.heard.decode("utf-8", "replace")


def run(argv: tuple[str, ...], deadline_s: float, stop: threading.Event) -> Ended:
    """Waits for it. Raises Late, and OSError where no process is to be had."""
    command = [sys.executable, "-m", "gpuwarden.agent.mortal", str(os.getpid()), *argv]
    child = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, env=environment(os.environ), cwd="/"
    )
    assert child.stdout is not None and child.stderr is not None
    with child.stdout, child.stderr:
        tails = _Tail(child.stdout.fileno()), _Tail(child.stderr.fileno())
        try:
            _hear_out(child, tails, time.monotonic() + deadline_s, stop)
        except Late:
            _terminate(child, tails, 0.0 if stop.is_set() else _TERMINATE_S)
            raise
        finally:
            _kill(child)
        for tail in tails:  # what a child of its own may still write is not waited for
            for _ in range(HEARD_BYTES // _READ_BYTES):
                if not tail.hear():
                    break
        output, errors = tails
        return Ended(child.returncode, output.text, errors.text, output.cut)


def environment(ours: Mapping[str, str]) -> dict[str, str]:
    """What a program may need; nothing that tells of the agent's credentials, or lets it speak to systemd in the agent's name."""
    kept = {name: value for name, value in ours.items() if name in _KEPT_NAMES or name.startswith(_KEPT_PREFIXES)}
    return {**kept, "LANG": "C.UTF-8"}


def _hear_out(child: "subprocess.Popen[bytes]", tails: tuple[_Tail, _Tail], end_s: float, stop: threading.Event) -> None:
    waiting = select.poll()
    for tail in tails:
        waiting.register(tail.stream, select.POLLIN)
    while not _has_ended(child):
        if stop.is_set() or time.monotonic() >= end_s:
            raise Late
        for stream, _ in waiting.poll(1000 * _LOOK_S):
            tail = next(tail for tail in tails if tail.stream == stream)
            if not tail.hear():  # it is closed
                waiting.unregister(stream)


def _has_ended(child: "subprocess.Popen[bytes]") -> bool:
    """Without reaping it: until then nobody else can have its number, which its group is killed by."""
    return os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _terminate(child: "subprocess.Popen[bytes]", tails: tuple[_Tail, _Tail], patience_s: float) -> None:
    """First it is asked: diagnostics that run in a daemon of their own are then ended there too."""
    with suppress(Late):
        if patience_s:
            os.killpg(child.pid, signal.SIGTERM)
            _hear_out(child, tails, time.monotonic() + patience_s, threading.Event())


def _kill(child: "subprocess.Popen[bytes]") -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    try:
        child.wait(_GONE_S)
    except subprocess.TimeoutExpired:
        raise Immortal(child) from None
