"""Where the agent finds the limiter: a Unix socket that one agent at a time may use, the newest."""

import contextlib
import grp
import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from gpuwarden.agent.limiter.frames import MAX_GRANT_BYTES, BadFrame, read_frame, write_frame
from gpuwarden.core.config import ConfigError

SOCKET_MODE: Final = 0o660  # owner and group: whoever can open it can withhold, never forge
# A controller grants ten times a second at most. Who floods us waits in his own socket: work of his that piled up here would
# stand before the readings by which a lease ends.
_FRAME_GAP_S: Final = 0.01

_log = logging.getLogger("gpuwarden.limiter")


class AgentSocket:
    """Listens from construction to `close`. Frames that come are given to `on_frame`, from a thread of their own."""

    def __init__(
        self, path: Path, group: str, on_frame: Callable[[bytes], object], listener: socket.socket | None = None
    ) -> None:
        """`listener`: one that somebody else has made and keeps; then `path` and `group` are his."""
        self._own_path, self._on_frame = path if listener is None else None, on_frame
        self._agent: socket.socket | None = None
        self._lock = threading.Lock()  # guards _agent
        self._listener = listener or _listen(path, group)
        threading.Thread(target=self._accept, name="accept", daemon=True).start()

    def send(self, body: bytes) -> None:
        """To the agent, if there is one that reads; else the frame is left out, since a newer one follows."""
        with self._lock:
            if self._agent is None:
                return
            try:
                write_frame(self._agent, body)
            except (BadFrame, OSError) as why:
                self._hang_up(str(why))

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        if self._own_path is not None:
            self._own_path.unlink(missing_ok=True)
        with self._lock:
            self._hang_up("the limiter stops")

    def _accept(self) -> None:
        reader = None
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return  # closed
            with self._lock:
                self._hang_up("a newer agent came")
                self._agent = connection
            _log.info("an agent has connected")
            if reader is not None:
                reader.join()  # one at a time, so that many connections are no faster than one
            reader = self._reading(connection)

    def _reading(self, connection: socket.socket) -> threading.Thread | None:
        reader = threading.Thread(target=self._read, args=(connection,), name="agent", daemon=True)
        try:
            reader.start()
        except RuntimeError as why:  # no thread to be had now: the agent comes again
            with self._lock:
                self._hang_up(str(why))
            connection.close()
            return None
        return reader

    def _read(self, connection: socket.socket) -> None:
        reason = "the agent closed it"
        try:
            while (body := self._next_frame(connection)) is not None:
                self._on_frame(body)
        except (BadFrame, OSError) as why:
            reason = str(why)
        with self._lock:
            if self._agent is connection:
                self._hang_up(reason)
        connection.close()

    def _next_frame(self, connection: socket.socket) -> bytes | None:
        """None also if a newer agent has come: what the older one left is not read."""
        time.sleep(_FRAME_GAP_S)
        body = read_frame(connection, MAX_GRANT_BYTES)
        return body if self._agent is connection else None

    def _hang_up(self, reason: str) -> None:
        """The reading thread then ends by itself. Only with the lock."""
        if self._agent is None:
            return
        with contextlib.suppress(OSError):
            self._agent.shutdown(socket.SHUT_RDWR)
        self._agent = None
        _log.info("the agent's connection has ended: %s", reason)


def _listen(path: Path, group: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)  # nobody but the owner until its group is set
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        listener.bind(str(path))
        if group:
            os.chown(path, -1, grp.getgrnam(group).gr_gid)
        path.chmod(SOCKET_MODE)
        listener.listen(4)
    except (OSError, KeyError) as why:
        listener.close()
        raise ConfigError(f"socket {path}, socket_group {group!r}: {why}") from None
    finally:
        os.umask(before)
    return listener
