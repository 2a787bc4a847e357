"""Prometheus metrics of a daemon over HTTP, from prometheus-client's own registry."""

from collections.abc import Callable
from threading import Thread
from typing import Final
from wsgiref.simple_server import WSGIServer

from prometheus_client import Info, start_http_server

from gpuwarden.core.address import Address
from gpuwarden.core.version import VERSION

BUILD: Final = Info("gpuwarden_build", "Version and part")


def serve_metrics(part: str, listen: Address) -> Callable[[], None]:
    """Serves /metrics at `listen` and returns what stops it. A scrape reads memory only, never a driver."""
    BUILD.info({"version": VERSION, "part": part})
    started: tuple[WSGIServer, Thread] = start_http_server(listen.port, listen.host)
    server, thread = started

    def close() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return close
