"""Runs collectors, each in a thread of its own: one that fails or hangs hurts no other."""

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping

from gpuwarden.agent.child import ChildFailed, Hung
from gpuwarden.agent.collectors import COLLECTORS
from gpuwarden.agent.config import AgentConfig
from gpuwarden.agent.events import Collected, CollectFailed
from gpuwarden.agent.reading import Collector, NoReading, Reading, Unsupported

Outcome = Collected | CollectFailed


def open_collectors(config: AgentConfig) -> tuple[dict[str, Collector], dict[str, str]]:
    """The configured collectors that this node has, and for each other why not."""
    opened: dict[str, Collector] = {}
    left_out: dict[str, str] = {}
    for name in config.collectors:
        try:
            opened[name] = COLLECTORS[name](config)
        except Unsupported as why:
            left_out[name] = str(why)
        except (Hung, ChildFailed):
            opened[name] = _Late(name, config)
    return opened, left_out


class _Late:
    """A collector whose source gave no answer at the start: it is opened by the first pass that finds one."""

    def __init__(self, name: str, config: AgentConfig) -> None:
        self.name, self._config = name, config
        self._opened: Collector | None = None

    def collect(self) -> Reading:
        if self._opened is None:
            self._opened = COLLECTORS[self.name](self._config)
        return self._opened.collect()

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()


def collect(name: str, collector: Collector) -> Outcome:
    """One pass, timed. The one boundary around a collector."""
    began_s = time.monotonic()
    try:
        reading = collector.collect()
    except NoReading:
        reading = Reading()
    except Exception as why:  # noqa: BLE001 - a collector that breaks must not end the agent
        return CollectFailed(name, f"{type(why).__name__}: {why}", time.monotonic() - began_s)
    return Collected(name, reading, time.monotonic() - began_s)


class Collecting:
    """Threads that wait for orders. Every order has one outcome, which `on_outcome` gets from the collector's thread."""

    def __init__(self, collectors: Mapping[str, Collector], on_outcome: Callable[[Outcome], object]) -> None:
        self._on_outcome = on_outcome
        self._orders: dict[str, queue.Queue[bool]] = {name: queue.Queue(1) for name in collectors}
        self._threads = [
            threading.Thread(target=self._run, args=(name, collector), name=f"collect {name}", daemon=True)
            for name, collector in collectors.items()
        ]
        for thread in self._threads:
            thread.start()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._orders)

    def order(self, names: Iterable[str]) -> None:
        for name in names:
            self._orders[name].put_nowait(True)

    def close(self, patience_s: float) -> None:
        """Collectors close in their own threads; one that hangs is left behind."""
        for orders in self._orders.values():
            with contextlib.suppress(queue.Full):  # it hangs
                orders.put_nowait(False)
        until_s = time.monotonic() + patience_s
        for thread in self._threads:
            thread.join(max(0.0, until_s - time.monotonic()))

    def _run(self, name: str, collector: Collector) -> None:
        while self._orders[name].get():
            self._on_outcome(collect(name, collector))
        collector.close()
