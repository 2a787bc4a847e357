"""What SIGHUP does to a daemon: it says which keys of its file differ from what runs. Nothing is reloaded; a restart does that.

Left alone the signal would kill the daemon in silence, and with it a limiter's leases.
"""

import dataclasses
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue
from types import FrameType
from typing import TypeVar

from gpuwarden.core.config import ConfigError, load

T = TypeVar("T")

_log = logging.getLogger("gpuwarden.reload")


def load_watched(path: Path, into: type[T]) -> T:
    """The daemon's configuration; from now on SIGHUP compares the file with it. Call it in the main thread. Raises ConfigError."""
    running = load(path, into)
    on_hangup(lambda: _compare(path, into, running))
    return running


def on_hangup(say: Callable[[], object]) -> None:
    """`say` runs in a thread of its own: a signal may come while the main thread holds the log."""
    asked: SimpleQueue[None] = SimpleQueue()  # its put may interrupt itself

    def on_signal(number: int, frame: FrameType | None) -> None:
        asked.put(None)

    def wait() -> None:
        while True:
            asked.get()
            say()

    threading.Thread(target=wait, name="reload", daemon=True).start()
    signal.signal(signal.SIGHUP, on_signal)


def _compare(path: Path, into: type[T], running: T) -> None:
    try:
        keys = list(differences(running, load(path, into)))
    except ConfigError as why:
        _log.error("SIGHUP: nothing has changed here, and a restart would fail: %s", why)
        return
    if keys:
        _log.warning("SIGHUP: %s differs from what runs in %s; nothing takes effect before a restart", path, ", ".join(keys))
    else:
        _log.info("SIGHUP: %s is as what runs: there is nothing to take effect", path)


def differences(running: object, read: object, at: str = "") -> Iterator[str]:
    """Dotted keys, never values: some are secret."""
    if running == read:
        return
    if dataclasses.is_dataclass(running) and type(running) is type(read):
        for field in dataclasses.fields(running):
            dotted = f"{at}.{field.name}" if at else field.name
            yield from differences(getattr(running, field.name), getattr(read, field.name), dotted)
    elif isinstance(running, tuple) and isinstance(read, tuple) and len(running) == len(read):
        for index, (one, other) in enumerate(zip(running, read, strict=True)):
            yield from differences(one, other, f"{at}[{index}]")
    else:
        yield at
