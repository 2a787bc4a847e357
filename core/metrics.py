"""Prometheus metrics of a daemon over HTTP, from prometheus-client's own registry."""

from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Final

from prometheus_client import REGISTRY, Info, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from gpuwarden.core.address import Address
from gpuwarden.core.metrics_server import MetricsServer
from gpuwarden.core.service import FAILED, Ticker
from gpuwarden.core.tls import ServerContext
from gpuwarden.core.version import VERSION

BUILD: Final = Info("gpuwarden_build", "Version and part")


class _Loop(Collector):
    """What the service loop counts."""

    def collect(self) -> Iterator[Metric]:
        late = "Ticks left out because the one before was still waiting"
        yield CounterMetricFamily("gpuwarden_loop_late", late, Ticker.late)
        yield CounterMetricFamily("gpuwarden_loop_ticks", "Ticks that were due", Ticker.due)
        failed = CounterMetricFamily("gpuwarden_action_failed", "Actions that raised", labels=["action"])
        for action, count in dict(FAILED).items():
            failed.add_metric([action], count)
        yield failed


REGISTRY.register(_Loop())


def serve_metrics(part: str, listen: Address, tls_dir: Path | None) -> Callable[[], None]:
    """Serves /metrics at `listen` and returns what stops it. A scrape reads memory only, never a driver.

    With `tls_dir` it is https, by the files as they are at each handshake, and who scrapes shows a certificate of the same authority.
    OSError if the address cannot be had, ConfigError if the files are not sound.
    """
    BUILD.info({"version": VERSION, "part": part})
    server = MetricsServer(listen, ServerContext(tls_dir) if tls_dir else None)
    server.set_app(make_wsgi_app())
    thread = Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()

    def close() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return close
