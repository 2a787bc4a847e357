"""The detector's daemon: telemetry and what ranks say from the bus to the machine, findings from the machine to the bus."""

import logging
import secrets
import threading
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Final

from gpuwarden.core.bus import Bus, BusError
from gpuwarden.core.bus_roles import DETECTOR
from gpuwarden.core.connect import connect
from gpuwarden.core.eventlog import EventLog
from gpuwarden.core.left_firing import left_firing
from gpuwarden.core.log import log_to_stderr
from gpuwarden.core.metrics import serve_metrics
from gpuwarden.core.notify import Supervisor
from gpuwarden.core.service import (
    Inbox,
    Ticker,
    count_failures_of,
    serve,
    spare_garbage_collection,
    stop_on_signals,
)
from gpuwarden.detector.chooser import Chooser
from gpuwarden.detector.config import DetectorConfig
from gpuwarden.detector.events import Action, Event, Tick
from gpuwarden.detector.handover import Handover, Left
from gpuwarden.detector.health.learned import Learned
from gpuwarden.detector.inlet import Inlet
from gpuwarden.detector.machine import Detector, DetectorSetup
from gpuwarden.detector.metrics import register
from gpuwarden.detector.outlet import Outlet
from gpuwarden.detector.registry.shelf import Registry
from gpuwarden.proto import topics

INBOX_EVENTS: Final = 4  # polls of up to POLL_RECORDS; more of them wait in the bus
TICK_S: Final = 1.0

_log = logging.getLogger("gpuwarden.detector")


def run(config: DetectorConfig, *, events_dir: Path | None = None) -> int:
    """Until SIGTERM or SIGINT."""
    log_to_stderr()
    stop, supervisor = stop_on_signals(), Supervisor()
    with ExitStack() as open_parts:
        if config.metrics_listen is not None:
            open_parts.callback(serve_metrics("detector", config.metrics_listen, config.tls_dir))
        try:
            bus = connect(config.bus, stop, supervisor.waits, DETECTOR.topics)
            setup = config.setup
            if setup.room is not None:
                setup = replace(setup, room=replace(setup.room, start=secrets.token_hex(8)))
            models = dict[str, Learned]()
            detector = Detector(setup, models)
            open_parts.callback(register(detector))
            spare_garbage_collection()
            detect(bus, config, setup, detector, stop, events_dir, supervisor, models, lambda: left_firing(bus, DETECTOR.groups, stop))
        except BusError as why:
            _log.warning("%s", why)
            return 0 if stop.is_set() else 1
    return 0


def detect(
    bus: Bus,
    config: DetectorConfig,
    setup: DetectorSetup,
    detector: Detector,
    stop: threading.Event,
    events_dir: Path | None,
    supervisor: Supervisor | None = None,
    models: dict[str, Learned] | None = None,
    left: Left = tuple,
) -> None:
    """Serves until `stop` is set and what was read is done with. `models` are those of the detector's machine, which are filled here; `left` reads what fires."""
    inbox, supervisor = Inbox[Event](INBOX_EVENTS), supervisor or Supervisor({})
    handover = Handover(inbox, stop, left)
    with ExitStack() as open_parts:
        producer, consumer = bus.producer(), bus.consumer((topics.TELEMETRY, topics.COMM), config.group, moves=handover)
        open_parts.callback(producer.close)
        open_parts.callback(consumer.close)
        events = None
        if events_dir is not None:
            events = EventLog(events_dir, "detector", config.group, setup)
            open_parts.callback(events.close)
        inlet = Inlet(consumer, inbox, stop)
        open_parts.callback(inlet.close)
        if setup.room is not None:
            scores = bus.consumer((topics.SCORES,), f"{DETECTOR.groups}-reads-{setup.room.start}")  # all of them: a group would split them
            open_parts.callback(scores.close)
            open_parts.callback(Inlet(scores, inbox, stop).close)
        if config.health is not None and config.health.registry is not None and models is not None:
            chooser = Chooser(Registry(config.health.registry), models, inbox.put, stop)
            open_parts.callback(chooser.close)
        ticker = Ticker(TICK_S, lambda: Tick(time.time_ns()), inbox, time.monotonic)
        open_parts.callback(ticker.close)
        _log.info("detector of group %s reads %s and %s", config.group, topics.TELEMETRY, topics.COMM)
        outlet = Outlet(producer, consumer, stop, supervisor.turned, handover.over)
        supervisor.ready(f"group {config.group} judges {topics.TELEMETRY}")
        open_parts.callback(supervisor.stopping)
        count_failures_of(Action)
        serve(detector, inbox, outlet.perform, time.monotonic, stop, events, supervisor.turned)
