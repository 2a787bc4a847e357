"""Prometheus metrics of a daemon over HTTP, from prometheus-client's own registry."""

from collections.abc import Callable, Iterator
from threading import Thread
from typing import Final
from wsgiref.simple_server import WSGIServer

from prometheus_client import REGISTRY, Info, start_http_server
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from gpuwarden.core.address import Address
from gpuwarden.core.service import FAILED, Ticker
from gpuwarden.core.version import VERSION

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
