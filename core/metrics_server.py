"""The HTTP server of a metrics page: a few threads however many connect, and the certificate that is newest at each handshake."""

import contextlib
import logging
import socket
import sys
from socketserver import ThreadingMixIn
from threading import BoundedSemaphore, Lock
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import Counter

from gpuwarden.core.address import Address
from gpuwarden.core.tls import ServerContext

MOST_AT_ONCE: Final = 8  # the agent's unit allows 64 threads, and most of them have other work
CLIENT_S: Final = 5.0
_GIVES_WAY_S: Final = 0.5
FAILED: Final = Counter(
    "gpuwarden_metrics_connections_failed_total", "Connections to the metrics page that got no answer: silent, too many, without a certificate"
)

_log = logging.getLogger("gpuwarden.metrics")


class MetricsServer(ThreadingMixIn, WSGIServer):
    """Of too many connections the oldest gives way: who scrapes is done in milliseconds, who is old says nothing."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, listen: Address, certificate: ServerContext | None) -> None:
        """OSError if the address cannot be had."""
        self.address_family, _, _, _, where = socket.getaddrinfo(listen.host, listen.port, type=socket.SOCK_STREAM)[0]
        self._certificate = certificate
        self._seats = BoundedSemaphore(MOST_AT_ONCE)
        self._lock = Lock()
        self._open: dict[socket.socket, None] = {}  # the oldest first
        super().__init__(where[:2], _Quiet)  # type: ignore[arg-type]  # host and port

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        if self._certificate is not None:
            # Its thread shakes hands, at the first read: the one that accepts must wait for nobody.
            context = self._certificate.newest()
            connection = context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._seats.acquire(blocking=False):
            self._oldest_gives_way()
            if not self._seats.acquire(timeout=_GIVES_WAY_S):
                FAILED.inc()
                self.shutdown_request(request)
                return
        with self._lock:
            self._open[request] = None
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            had_thread = request in self._open
            self._open.pop(request, None)
        super().shutdown_request(request)
        if had_thread:
            self._seats.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """No traceback for everybody who shows no certificate or hangs up, but one for what is our own fault."""
        FAILED.inc()
        if not isinstance(sys.exception(), OSError):
            _log.exception("the metrics page did not answer")

    def _oldest_gives_way(self) -> None:
        """Its thread reads an end and closes; an SSLSocket's own shutdown would take the session from under it."""
        with self._lock:
            oldest = next(iter(self._open), None)
            if oldest is not None:
                with contextlib.suppress(OSError):  # it has just gone by itself
                    socket.socket.shutdown(oldest, socket.SHUT_RDWR)


class _Quiet(WSGIRequestHandler):
    timeout = CLIENT_S

    def log_message(self, format: str, *args: Any) -> None:
        """No line for each scrape."""
