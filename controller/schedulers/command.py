"""Runs a scheduler's own tools: no shell, a deadline that holds for whatever they start, and a bound on what they may say."""

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from gpuwarden.controller.schedulers.scheduler import Unreachable

MOST_BYTES: Final = 64 << 20  # `squeue --json` has some 3 kB a job, and 70 bytes a core that is allocated
MOST_SAID_CHARS: Final = 300
_READ_BYTES: Final = 1 << 16
# What else is in our environment may change how they print: SQUEUE_STATES and its like.
_KEPT: Final = ("PATH", "SLURM_CONF")


@dataclass(frozen=True, slots=True)
class Ended:
    """A tool that ended by itself."""

    status: int
    out: bytes
    said: str  # on standard error, the end of it


def run(command: Sequence[str], call_s: float, most_bytes: int = MOST_BYTES) -> Ended:
    """Unreachable if it cannot be started, has not ended within `call_s`, or says more than `most_bytes`."""
    env = {name: os.environ[name] for name in _KEPT if name in os.environ} | {"LC_ALL": "C"}
    try:
        tool = subprocess.Popen(
            command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )
    except OSError as why:
        raise Unreachable(f"{command[0]}: cannot be started: {why.strerror}") from None
    try:
        out, said = _heard(command[0], tool, call_s, most_bytes)
        status = tool.wait(1.0)  # it has closed both, and is about to end
    except subprocess.TimeoutExpired:
        raise Unreachable(f"{command[0]}: has said all and does not end") from None
    finally:
        _end(tool)
    return Ended(status, out, said.decode(errors="replace").strip()[-MOST_SAID_CHARS:])


def _heard(name: str, tool: "subprocess.Popen[bytes]", call_s: float, most_bytes: int) -> tuple[bytes, bytes]:
    """All that it says on standard output and error, until both are closed."""
    out, said, until_s = bytearray(), bytearray(), time.monotonic() + call_s
    with selectors.DefaultSelector() as still_open:
        for pipe, heard in ((tool.stdout, out), (tool.stderr, said)):
            assert pipe is not None, "both are pipes"
            still_open.register(pipe, selectors.EVENT_READ, heard)
        while still_open.get_map():
            ready = still_open.select(max(0.0, until_s - time.monotonic()))
            if not ready or time.monotonic() > until_s:  # one that never stops to say something is late too
                raise Unreachable(f"{name}: no answer within {call_s:g} s")
            for key, _ in ready:
                part = os.read(key.fd, _READ_BYTES)
                key.data.extend(part)
                if not part:
                    still_open.unregister(key.fileobj)
                elif len(key.data) > most_bytes:
                    raise Unreachable(f"{name}: says more than {most_bytes} bytes")
    return bytes(out), bytes(said)


def _end(tool: "subprocess.Popen[bytes]") -> None:
    """It and whatever it has started, if it has not ended: until then its number is nobody else's."""
    if tool.returncode is None:
        os.killpg(tool.pid, signal.SIGKILL)
    for pipe in (tool.stdout, tool.stderr):
        if pipe is not None:
            pipe.close()
    with suppress(subprocess.TimeoutExpired):  # one that the kernel holds is left to it
        tool.wait(1.0)
