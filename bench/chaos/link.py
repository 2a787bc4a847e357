"""The network between one agent and its controller: a relay that can delay, be cut, or lead elsewhere."""

import contextlib
import queue
import socket
import threading
import time
from typing import Final

CHUNK_BYTES: Final = 65536


class Link:
    """Listens on `port` until `close`. Bytes keep their order and arrive `delay_s` after they were sent, each way."""

    def __init__(self, target: int) -> None:
        """`target` is the controller's port on this machine."""
        self._target, self.delay_s = target, 0.0
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()  # guards _open
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def lead_to(self, target: int) -> None:
        """Connections that are open end; the next ones lead there."""
        self._target = target
        with self._lock:
            ending, self._open = self._open, set()
        for one in ending:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.lead_to(0)

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return  # closed
            try:
                far = socket.create_connection(("127.0.0.1", self._target), 2.0)
            except OSError:
                near.close()
                continue
            far.settimeout(None)
            with self._lock:
                self._open |= {near, far}
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        """Reads at once, so that the sender does not feel the delay."""
        under_way: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()
        threading.Thread(target=_deliver, args=(under_way, sink), daemon=True).start()
        try:
            while chunk := source.recv(CHUNK_BYTES):
                under_way.put((time.monotonic() + self.delay_s, chunk))
        except OSError:
            pass
        under_way.put((time.monotonic() + self.delay_s, b""))


def _deliver(under_way: "queue.SimpleQueue[tuple[float, bytes]]", sink: socket.socket) -> None:
    while True:
        due_s, chunk = under_way.get()
        time.sleep(max(0.0, due_s - time.monotonic()))
        try:
            if not chunk:
                return sink.shutdown(socket.SHUT_RDWR)
            sink.sendall(chunk)
        except OSError:
            return None
