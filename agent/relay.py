"""The agent's end of the limiter's Unix socket: connects again and again, reads reports, passes grants on."""

import contextlib
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from gpuwarden.agent.events import Event, FromLimiter, LimiterLink
from gpuwarden.agent.limiter.frames import BadFrame, read_frame, write_frame

RETRY_S: Final = 0.5


class LimiterRelay:
    """Connected or trying, from construction to `close`."""

    def __init__(self, path: Path, put: Callable[[Event], object]) -> None:
        self._path, self._put = path, put
        self._stop = threading.Event()
        self._lock = threading.Lock()  # guards _limiter
        self._limiter: socket.socket | None = None
        self._thread = threading.Thread(target=self._run, name="relay", daemon=True)
        self._thread.start()

    def send(self, sealed: bytes) -> None:
        """A grant, unchanged; left out while the limiter is out of reach, since a newer one follows."""
        with self._lock:
            if self._limiter is not None:
                with contextlib.suppress(BadFrame, OSError):  # the reading thread sees the same end and says it
                    write_frame(self._limiter, sealed)

    def close(self) -> None:
        self._stop.set()
        with self._lock:
            if self._limiter is not None:
                self._limiter.shutdown(socket.SHUT_RDWR)
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                with contextlib.suppress(BadFrame, OSError):
                    self._converse(connection)
                self._attach(None)
            self._stop.wait(RETRY_S)

    def _converse(self, connection: socket.socket) -> None:
        connection.connect(str(self._path))
        self._attach(connection)
        while (sealed := read_frame(connection)) is not None:
            self._put(FromLimiter(sealed))

    def _attach(self, connection: socket.socket | None) -> None:
        with self._lock:
            changed = (self._limiter is None) != (connection is None)
            self._limiter = connection
            if connection is not None and self._stop.is_set():
                connection.shutdown(socket.SHUT_RDWR)
        if changed:
            self._put(LimiterLink(connection is not None))
