"""Prometheus metrics of a daemon over HTTP, from prometheus-client's own registry."""

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any, Final
from wsgiref.simple_server import WSGIServer

from prometheus_client import REGISTRY, Info, start_http_server
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from gpuwarden.core.address import Address
from gpuwarden.core.service import FAILED, Ticker
from gpuwarden.core.tls import CA, CERTIFICATE, KEY, read_tls
from gpuwarden.core.version import VERSION

CLIENT_S: Final = 10.0
BUILD: Final = Info("gpuwarden_build", "Version and part")


class _Loop(Collector):
    """What the service loop counts."""

    def collect(self) -> Iterator[Metric]:
        late = "Ticks left out because the one before was still waiting"
        yield CounterMetricFamily("gpuwarden_loop_late", late, Ticker.late)
        failed = CounterMetricFamily("gpuwarden_action_failed", "Actions that raised", labels=["action"])
        for action, count in dict(FAILED).items():
            failed.add_metric([action], count)
        yield failed


REGISTRY.register(_Loop())


def serve_metrics(part: str, listen: Address, tls_dir: Path | None) -> Callable[[], None]:
    """Serves /metrics at `listen` and returns what stops it. A scrape reads memory only, never a driver.

    With `tls_dir` it is https, and who scrapes shows a certificate of the same authority. OSError if the address cannot be had,
    ConfigError if the files are not sound.
    """
    BUILD.info({"version": VERSION, "part": part})
    started: tuple[WSGIServer, Thread] = start_http_server(listen.port, listen.host, **_tls(tls_dir))
    server, thread = started
    # Whoever connects and says nothing holds up his own thread, and that for CLIENT_S only: not who scrapes after him.
    server.RequestHandlerClass.timeout = CLIENT_S  # type: ignore[attr-defined]  # of socketserver.StreamRequestHandler
    if isinstance(server.socket, ssl.SSLSocket):
        server.socket.do_handshake_on_connect = False  # type: ignore[attr-defined]  # it is there, the stubs lack it

    def close() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return close


def _tls(folder: Path | None) -> dict[str, Any]:
    if folder is None:
        return {}
    read_tls(folder)
    files = {"certfile": folder / CERTIFICATE, "keyfile": folder / KEY, "client_cafile": folder / CA}
    return {**{name: str(path) for name, path in files.items()}, "client_auth_required": True}
