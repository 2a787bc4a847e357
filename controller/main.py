"""Wires the controller: the machine, its ledger, gRPC, findings, webhooks, page and metrics."""

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Self, assert_never

from gpuwarden.controller import metrics
from gpuwarden.controller.actuators.heartbeat import Heartbeat
from gpuwarden.controller.actuators.mirror import Mirror
from gpuwarden.controller.actuators.redfish import BmcOrders
from gpuwarden.controller.actuators.webhook import Webhooks
from gpuwarden.controller.config import ControllerConfig, read_keys
from gpuwarden.controller.events import (
    Action,
    Beat,
    Event,
    Notify,
    OutOfBand,
    Publish,
    RememberDomain,
    RememberEpoch,
    RememberForeign,
    RememberHeat,
    RememberJobFloor,
    RememberLearnt,
    RememberMaintenance,
    Reply,
    ReportArrived,
    SendGrant,
    Tick,
    WriteLedger,
)
from gpuwarden.controller.findings import Connect, Findings, Through
from gpuwarden.controller.isolating import Isolating, Outward
from gpuwarden.controller.job_floors import floor_of
from gpuwarden.controller.ledger import Ledger
from gpuwarden.controller.machine import Controller, ControllerSetup
from gpuwarden.controller.meters.polling import Polling
from gpuwarden.controller.people import window_of
from gpuwarden.controller.rpc import Rpc
from gpuwarden.controller.snapshot import Board
from gpuwarden.controller.web.asking import Ask
from gpuwarden.controller.web.serve import Door, Page
from gpuwarden.core.address import Address
from gpuwarden.core.bus import BusConfig
from gpuwarden.core.bus_roles import CONTROLLER
from gpuwarden.core.config import ConfigError
from gpuwarden.core.eventlog import EventLog
from gpuwarden.core.log import log_to_stderr, say
from gpuwarden.core.machine import Say
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
from gpuwarden.core.tls import Rotating

TICK_S: Final = 0.05  # a quarter of the time from one decision of a domain to the next: each tick has a few domains, and none waits for all
INBOX_LIMIT: Final = 10_000

_log = logging.getLogger("gpuwarden.controller")


def run(config: ControllerConfig, *, events_dir: Path | None = None) -> int:
    """Until SIGTERM or SIGINT: 0; 1 if it had to stop by itself. ConfigError if it cannot start."""
    log_to_stderr()
    stop = stop_on_signals()
    with ControllerShell(config, read_keys(config), _way_to_bus(config.bus), events_dir, stop, Supervisor()) as shell:
        spare_garbage_collection()
        stop.wait()
    return 1 if shell.failed else 0


def _way_to_bus(config: BusConfig | None) -> Connect | None:
    if config is None:
        return None
    from gpuwarden.core.connect import connect  # who has no bus does not wait for its client to be imported

    return partial(connect, config, wanted=CONTROLLER.topics)


class ControllerShell:
    """A controller that runs from construction to `close`. It sets `stop` when it can no longer go on."""

    def __init__(
        self,
        config: ControllerConfig,
        keys: Mapping[str, bytes],
        connect_bus: Connect | None = None,
        events_dir: Path | None = None,
        stop: threading.Event | None = None,
        supervisor: Supervisor | None = None,
    ) -> None:
        self.stop = stop or threading.Event()
        self.failed = False
        self.board = Board()
        self.page_url: str | None = None
        self._supervisor = supervisor or Supervisor({})
        self._serves, self._epoch_is_durable = threading.Event(), False
        self._edges_closed = threading.Event()
        with ExitStack() as opened:  # closed in reverse: first who puts events in, then the loop, then what it acts on
            inbox = self._open(config, keys, events_dir, opened)
            self.address: Address = self._open_rpc(opened)
            self._open_edges(config, connect_bus, inbox, opened)
            self._opened = opened.pop_all()
        self._serves.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, why: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Within a few seconds, whatever hangs outside."""
        self.stop.set()
        self._supervisor.stopping()
        self._opened.close()

    def _open(
        self, config: ControllerConfig, keys: Mapping[str, bytes], events_dir: Path | None, opened: ExitStack
    ) -> Inbox[Event]:
        """What the loop acts on, and the loop."""
        count_failures_of(Action)
        self._ledger = Ledger(config.ledger_file)
        opened.callback(self._ledger.close)
        setup = ControllerSetup(
            self._ledger.controller_id(), self._ledger.epoch(), config.domains, self._ledger.remembered(), config.timing,
            config.alert_setup(map(window_of, self._ledger.maintenance())), self._ledger.heats(), config.out_of_band,
            self._ledger.foreign(), tuple(map(floor_of, self._ledger.job_floors())), self._ledger.learnt(),
        )
        self._webhooks = Webhooks(config.webhooks, config.cluster or setup.controller_id)
        opened.callback(self._webhooks.close)
        self._heartbeat = Heartbeat(config.heartbeat) if config.heartbeat is not None else None
        if self._heartbeat is not None:
            opened.callback(self._heartbeat.close)
        log = _event_log(events_dir, "controller", setup.controller_id, setup, opened)
        inbox: Inbox[Event] = Inbox(INBOX_LIMIT, _superseded_by)
        self._bmcs = BmcOrders(config.out_of_band, inbox.offer) if config.out_of_band is not None else None
        if self._bmcs is not None:
            opened.callback(self._bmcs.close)
        tls = Rotating(config.tls_dir) if config.tls_dir is not None else None
        self._isolating = self._isolation(config, inbox, _event_log(events_dir, "isolation", setup.controller_id, config.isolation, opened))
        ask_isolation = self._isolating.offer if self._isolating is not None else None
        self._rpc = Rpc(config.listen, tls, config.nodes(), self.board, self._ledger, inbox.offer, ask_isolation)
        opened.callback(self._rpc.close)
        self._through = Through(Controller(setup, keys))
        loop = threading.Thread(target=self._loop, args=(inbox, log), name="decider", daemon=True)
        loop.start()
        opened.callback(loop.join)
        opened.callback(self._edges_closed.set)
        return inbox

    def _isolation(self, config: ControllerConfig, inbox: Inbox[Event], log: EventLog | None) -> Isolating | None:
        if config.isolation is None:
            return None
        outward = Outward(
            inbox.offer, lambda token, said: self._rpc.answer_of_isolation(token, said), self._end,
            lambda node, id, name: self._rpc.probe(node, id, name), lambda make_event: self._rpc.ask(make_event),
        )  # fmt: skip
        return Isolating(config.isolation, config.nodes(), self._ledger, self.board, outward, log)

    def _open_rpc(self, opened: ExitStack) -> Address:
        address = self._rpc.start()
        opened.callback(self._rpc.stop)
        _log.info("agents and operators are served on %s", address)
        return address

    def _open_edges(
        self, config: ControllerConfig, connect_bus: Connect | None, inbox: Inbox[Event], opened: ExitStack
    ) -> None:
        opened.callback(Polling(config.domains, inbox.offer).close)
        opened.callback(Ticker(TICK_S, lambda: Tick(time.time_ns()), inbox, time.monotonic).close)
        if self._isolating is not None:
            opened.callback(self._isolating.close)
            self._isolating.start(connect_bus)
        if connect_bus is not None:
            opened.callback(Mirror(connect_bus, self._ledger, self.stop).join)
            opened.callback(Findings(connect_bus, inbox.offer, self._through, self.stop).join)
            opened.callback(self.stop.set)
        if config.metrics_listen is not None:
            opened.callback(_listening("metrics_listen", config.metrics_listen, self._serve_metrics(config.tls_dir)))
        if config.web_listen is not None:
            opened.callback(_listening("web_listen", config.web_listen, partial(self._show_page, config)))

    def _serve_metrics(self, tls_dir: Path | None) -> Callable[[Address], Callable[[], None]]:
        return lambda listen: serve_metrics("controller", listen, tls_dir)

    def _show_page(self, config: ControllerConfig, listen: Address) -> Callable[[], None]:
        page = Page(listen, self.board, Door(config.web_users_file, config.web_tls, config.web_hosts), Ask(self._rpc.ask, self._rpc.ask_isolation))
        page.start()
        self.page_url = page.url
        _log.info("the page is at %s", page.url)
        return page.close

    def _loop(self, inbox: Inbox[Event], log: EventLog | None) -> None:
        try:
            serve(self._through, inbox, self._perform, time.monotonic, self._edges_closed, log, self._turned)
        finally:
            if not self._edges_closed.is_set():
                self._end("the decider has ended")

    def _turned(self) -> None:
        if self._serves.is_set() and self._epoch_is_durable:
            self._supervisor.ready(f"agents and operators are served on {self.address}")
        self._supervisor.turned()

    def _end(self, why: str) -> None:
        """Grants stop here; every node returns to its floor by itself."""
        self.failed = True
        _log.critical("the controller stops: %s", why)
        self.stop.set()

    def _perform(self, action: Action) -> None:
        """Nothing is done any more once the ledger could not be written: what follows would rest on it."""
        if self.failed:
            return
        try:
            self._act(action)
        except sqlite3.Error as why:
            self._end(f"the ledger cannot be written: {why}")
            raise

    def _act(self, action: Action) -> None:
        match action:
            case SendGrant():
                self._rpc.grant(action.session, action.sealed)
            case WriteLedger():
                self._ledger.append(action.payloads, time.time_ns())
            case Publish():
                if self._isolating is not None:
                    self._isolating.show(action.snapshot)
                self.board.publish(action.snapshot)
                metrics.show(action.snapshot)
            case Reply():
                self._rpc.answer(action.token, action.response)
            case Notify():
                self._webhooks.tell(action)
            case Beat():
                if self._heartbeat is not None:
                    self._heartbeat.beat(action.unix_ns)
            case OutOfBand():
                assert self._bmcs is not None, "ordered only where it is configured"
                self._bmcs.order(action)
            case RememberMaintenance():
                self._ledger.remember_maintenance(action.id, action.payload)
            case RememberJobFloor():
                self._ledger.remember_job_floor(action.job, action.payload)
            case RememberEpoch():
                self._ledger.remember_epoch(action.epoch)
                self._epoch_is_durable = True
            case RememberHeat():
                self._ledger.remember_heats(action.heats)
            case RememberForeign():
                self._ledger.remember_foreign(action.foreign)
            case RememberLearnt():
                self._ledger.remember_learnt(action.learnt)
            case RememberDomain():
                self._ledger.remember_domain(action.domain, action.budget_w, action.mode)
            case Say():
                say(action)
            case _:
                assert_never(action)


def _superseded_by(event: Event) -> int | None:
    """A session's report by its next one: agents that all come back at once say more than is decided meanwhile."""
    return event.session if isinstance(event, ReportArrived) else None


def _event_log(folder: Path | None, part: str, name: str, setup: object, opened: ExitStack) -> EventLog | None:
    """None where none is asked for, or there is no such part."""
    if folder is None or setup is None:
        return None
    try:
        log = EventLog(folder, part, name, setup)
    except OSError as why:
        raise ConfigError(f"--events {folder}: {why.strerror}") from None
    opened.callback(log.close)
    return log


def _listening(key: str, listen: Address, open_at: Callable[[Address], Callable[[], None]]) -> Callable[[], None]:
    """What closes it; ConfigError if the address cannot be had."""
    try:
        return open_at(listen)
    except OSError as why:
        raise ConfigError(f"{key}: {listen} cannot be had: {why.strerror or why}") from None
