"""The agent as a process: collects, sends telemetry, relays between limiter and controller. It needs no privileges."""

import logging
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final, assert_never

from prometheus_client import REGISTRY

from gpuwarden.agent.collecting import Collecting, Outcome, open_collectors
from gpuwarden.agent.comm import job_of
from gpuwarden.agent.config import AgentConfig, named
from gpuwarden.agent.events import (
    Action,
    AnswerProbe,
    Collect,
    Event,
    RunProbe,
    SendComm,
    SendTelemetry,
    StopProbe,
    Tick,
    ToController,
    ToLimiter,
)
from gpuwarden.agent.exposition import Exposition
from gpuwarden.agent.machine import Agent, AgentSetup
from gpuwarden.agent.probing import Probing, offered
from gpuwarden.agent.relay import LimiterRelay
from gpuwarden.agent.sender import Connect, Sender
from gpuwarden.agent.session import ControllerSession
from gpuwarden.agent.spool import COMM_DROPPED, COMM_WAITING, MEMORY_BYTES, Spool
from gpuwarden.core.bus_roles import AGENT
from gpuwarden.core.eventlog import EventLog
from gpuwarden.core.log import log_to_stderr
from gpuwarden.core.machine import Say
from gpuwarden.core.metrics import serve_metrics
from gpuwarden.core.notify import Supervisor
from gpuwarden.core.service import Inbox, Ticker, count_failures_of, serve, stop_on_signals
from gpuwarden.proto import topics

INBOX_EVENTS: Final = 1000
COLLECTORS_STOP_S: Final = 1.0
OF_JOBS: Final = {"ranks", "inspector", "ras", "job"}  # collectors whose readings go to `comm.v1`

_log = logging.getLogger("gpuwarden.agent")


def run(config: AgentConfig, *, events_dir: Path | None = None) -> int:
    """Until SIGTERM."""
    log_to_stderr()
    stop = stop_on_signals()
    connect_bus = None
    if config.bus is not None:
        from gpuwarden.core.connect import connect  # who has no bus does not carry its client

        connect_bus = partial(connect, config.bus, wanted=AGENT.topics)
    collect_and_relay(named(config), connect_bus, stop, events_dir, Supervisor())
    return 0


def collect_and_relay(
    config: AgentConfig,
    connect_bus: Connect | None,
    stop: threading.Event,
    events_dir: Path | None = None,
    supervisor: Supervisor | None = None,
) -> None:
    """Until `stop`. Without a bus telemetry is only served as metrics. `config.node` is the node's name."""
    with ExitStack() as opened:
        _run(config, connect_bus, events_dir, stop, opened, supervisor or Supervisor({}))


def _run(
    config: AgentConfig,
    connect_bus: Connect | None,
    events_dir: Path | None,
    stop: threading.Event,
    opened: ExitStack,
    supervisor: Supervisor,
) -> None:
    collectors, left_out = open_collectors(config)
    for name, why in left_out.items():
        _log.info("collector %s is left out: %s", name, why)
    setup = AgentSetup(config.node, secrets.token_hex(8), tuple(collectors), offered(config.probes))
    log = EventLog(events_dir, "agent", setup.node, setup) if events_dir is not None else None
    if log is not None:
        opened.callback(log.close)
    inbox = Inbox[Event](INBOX_EVENTS)
    collecting = Collecting(collectors, _outcomes(config, inbox, opened))
    opened.callback(collecting.close, COLLECTORS_STOP_S)
    performer = _Performer(config, connect_bus, collecting, inbox, opened, supervisor)
    ticker = Ticker(config.period_s, lambda: Tick(time.time_ns()), inbox, time.monotonic)
    opened.callback(ticker.close)
    _log.info("%s: reads %s", setup.node, ", ".join(collecting.names) or "nothing")
    opened.callback(supervisor.stopping)
    count_failures_of(Action)
    serve(Agent(setup), inbox, performer.perform, time.monotonic, stop, log, supervisor.turned)


def _outcomes(config: AgentConfig, inbox: Inbox[Event], opened: ExitStack) -> Callable[[Outcome], None]:
    exposition = Exposition()
    REGISTRY.register(exposition)
    opened.callback(REGISTRY.unregister, exposition)
    if config.metrics_listen is not None:
        opened.callback(serve_metrics("agent", config.metrics_listen, config.tls_dir))

    def on_outcome(outcome: Outcome) -> None:
        exposition.show(outcome)
        inbox.put(outcome)  # it waits for room: an outcome is told once

    return on_outcome


class _Performer:
    """Does what the machine orders. Bus, session and relay are there if they are configured."""

    def __init__(
        self,
        config: AgentConfig,
        connect_bus: Connect | None,
        collecting: Collecting,
        inbox: Inbox[Event],
        opened: ExitStack,
        supervisor: Supervisor,
    ) -> None:
        self._collecting, self._supervisor = collecting, supervisor
        self._works = f"{config.node}: reads {', '.join(collecting.names) or 'nothing'}"
        self._sender = self._comm_sender = None
        if connect_bus is not None:
            self._sender = Sender(connect_bus, topics.TELEMETRY, lambda payload: config.node, Spool(config.spool_file, config.spool_bytes))
        if connect_bus is not None and not OF_JOBS.isdisjoint(config.collectors):  # worth nothing after a restart: in memory
            self._comm_sender = Sender(connect_bus, topics.COMM, job_of, Spool(None, MEMORY_BYTES, COMM_WAITING, COMM_DROPPED))
        self._probing = Probing(config.probes, inbox.put)
        self._session = None
        if config.controller is not None:
            self._session = ControllerSession(config.controller, config.tls_dir, config.node, inbox.put, offered(config.probes))
        self._relay = LimiterRelay(config.limiter_socket, inbox.put) if config.limiter_socket is not None else None
        for part in (self._sender, self._comm_sender, self._probing, self._session, self._relay):
            if part is not None:
                opened.callback(part.close)

    def perform(self, action: Action) -> None:
        match action:
            case Collect():
                self._collecting.order(action.collectors)
            case SendTelemetry():  # a pass is done
                self._supervisor.ready(self._works)
                if self._sender is not None:
                    self._sender.send(action.payload, action.events)
            case SendComm():
                if self._comm_sender is not None:
                    self._comm_sender.send(action.payload, False)
            case ToController():
                assert self._session is not None, "its link came up"
                self._session.send(action.sealed)
            case RunProbe():
                self._probing.order(action.id, action.name)
            case StopProbe():
                self._probing.stop(action.id)
            case AnswerProbe():
                assert self._session is not None, "its link came up"
                self._session.answer(action)
            case ToLimiter():
                assert self._relay is not None, "its link came up"
                self._relay.send(action.sealed)
            case Say():
                raise AssertionError("the loop says it")
            case _:
                assert_never(action)
