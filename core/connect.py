"""From the configuration to a bus that answers."""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import Final, TypeVar

from gpuwarden.core.bus import Bus, BusConfig, BusError
from gpuwarden.core.bus_kafka import KafkaBus
from gpuwarden.core.bus_memory import MemoryBus
from gpuwarden.proto import topics

PATIENCE_S: Final = 3.0
PAUSE_S: Final = 1.0
SAY_AGAIN_S: Final = 10.0

T = TypeVar("T")

_log = logging.getLogger("gpuwarden.bus")


def connect(
    config: BusConfig,
    stop: threading.Event | None = None,
    waits: Callable[[str], object] = lambda why: None,
    wanted: Iterable[str] = topics.ALL,
) -> Bus:
    """The bus, with the `wanted` topics on it. Waits as long as it takes, and says what for; BusError once `stop` is set.

    `waits` is told after every attempt, some seconds apart, why there is no bus yet. A memory bus is a new one: parts that are to meet on it are given the same object.
    """
    if config.kind == "memory":
        return MemoryBus()
    return wait_for_kafka(config, lambda: KafkaBus(config, wanted, PATIENCE_S), stop or threading.Event(), waits)


def wait_for_kafka(
    config: BusConfig, attempt: Callable[[], T], stop: threading.Event, waits: Callable[[str], object] = lambda why: None
) -> T:
    """What `attempt` gives once it raises no BusError any more; a BusError of its own once `stop` is set."""
    _log.info("connecting to Kafka at %s", ", ".join(config.bootstrap))
    say_s = time.monotonic()
    while not stop.is_set():
        try:
            return attempt()
        except BusError as why:
            waits(str(why))
            if time.monotonic() >= say_s:
                _log.warning("waiting for Kafka: %s", why)
                say_s = time.monotonic() + SAY_AGAIN_S
        stop.wait(PAUSE_S)
    raise BusError(f"{', '.join(config.bootstrap)}: stopped while waiting for Kafka")
