"""The limiter as a process: root, no network, one Unix socket. It sets limits, and lets go of nothing when it stops."""

import logging
import secrets
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, assert_never

from gpuwarden.agent.child import ChildFailed, Hung
from gpuwarden.agent.limiter.agent_socket import AgentSocket
from gpuwarden.agent.limiter.cards import Cards
from gpuwarden.agent.limiter.config import LimiterConfig
from gpuwarden.agent.limiter.driver import Driver
from gpuwarden.agent.limiter.events import (
    Action,
    Directive,
    Event,
    LockClocks,
    ReadLimits,
    Remember,
    RememberFailed,
    SendReport,
    SetLimits,
)
from gpuwarden.agent.limiter.machine import Limiter, LimiterSetup
from gpuwarden.agent.limiter.memory import lock_memory
from gpuwarden.agent.limiter.state import Remembered, load_state, save_state
from gpuwarden.agent.reading import Unsupported
from gpuwarden.core.eventlog import EventLog
from gpuwarden.core.handed import handed_sockets
from gpuwarden.core.log import log_to_stderr
from gpuwarden.core.machine import Say
from gpuwarden.core.notify import Supervisor
from gpuwarden.core.private import read_key
from gpuwarden.core.service import Inbox, Unperformed, serve, stop_on_signals
from gpuwarden.proto.lease_pb2 import Mode

INBOX_EVENTS: Final = 1000
STOP_S: Final = 2.0  # a service stops within 5 s, and the floor is set once more after it
HUNG_STOP_S: Final = 0.2

_log = logging.getLogger("gpuwarden.limiter")


def boottime_s() -> float:
    """The lease's clock: goes on while the node sleeps, and nobody sets it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def run(config: LimiterConfig, *, events_dir: Path | None = None) -> int:
    """Until SIGTERM. 1 if this node has no card to limit."""
    log_to_stderr()
    stop, supervisor = stop_on_signals(), Supervisor()
    if refused := lock_memory():
        _log.warning("memory is not locked, so it may be swapped out: %s", refused)
    key, remembered = read_key(config.key_file), load_state(config.state_file)
    try:
        cards = Cards()
    except (Unsupported, Hung, ChildFailed) as why:
        _log.error("no card to limit: %s", why)
        return 1
    limit(config, key, remembered, cards, stop, events_dir, supervisor)
    return 0


def limit(
    config: LimiterConfig,
    key: bytes,
    remembered: Remembered,
    cards: Cards,
    stop: threading.Event,
    events_dir: Path | None = None,
    supervisor: Supervisor | None = None,
) -> bool:
    """Until `stop`; closes `cards`. False if the driver did not answer at the end, so that the limits are as they were."""
    setup = _setup(config, cards, remembered)
    log = EventLog(events_dir, "limiter", setup.node, setup) if events_dir is not None else None
    try:
        return _run(Limiter(setup, key), setup, config, cards, stop, log, supervisor or Supervisor({}))
    finally:
        if log is not None:
            log.close()


def _setup(config: LimiterConfig, cards: Cards, remembered: Remembered) -> LimiterSetup:
    return LimiterSetup(
        node=config.node or socket.gethostname(),
        limiter_start=secrets.token_hex(8),
        cards=cards.cards,
        floors_w=tuple(min(max(config.floor_w, card.min_w), card.max_w) for card in cards.cards),
        epoch=remembered.epoch,
        mode=remembered.mode,
    )


def _run(
    machine: Limiter,
    setup: LimiterSetup,
    config: LimiterConfig,
    cards: Cards,
    stop: threading.Event,
    log: EventLog | None,
    supervisor: Supervisor,
) -> bool:
    inbox = Inbox[Event](INBOX_EVENTS)

    def offer(event: Event) -> bool:
        return not stop.is_set() and inbox.offer(event)  # the loop ends when the inbox is empty, and readings never cease

    def turned() -> None:
        standing = machine.standing
        (supervisor.ready if standing.ready else supervisor.status)(standing.sentence)
        if driver.alive:  # else no limit is ever set again: the watchdog is to end this process
            supervisor.turned()

    listener = next(iter(handed_sockets()), None)
    agent = AgentSocket(config.socket, config.socket_group, lambda sealed: offer(Directive(sealed)), listener)
    driver = Driver(cards, len(setup.cards), offer, boottime_s)
    _log.info("%s: %d cards, mode %s, epoch %d", setup.node, len(setup.cards), Mode.Name(setup.mode), setup.epoch)
    performer = _Performer(agent, driver, config, offer)
    performer.begin(setup.epoch, setup.mode)
    try:
        serve(machine, inbox, performer.perform, boottime_s, stop, log, turned)
    finally:
        supervisor.stopping()
        agent.close()
        leave_w = setup.floors_w if machine.mode == Mode.MODE_AUTO else None
        leave_hz = (0.0,) * len(setup.cards) if machine.locks else None
        if answered := driver.close(leave_w, STOP_S if machine.driver_answers else HUNG_STOP_S, leave_hz):
            cards.close()
        else:
            _log.error("the driver does not answer: the limits stay as they are")
    return answered


class _Performer:
    """Does what the machine orders."""

    def __init__(self, agent: AgentSocket, driver: Driver, config: LimiterConfig, tell: Callable[[Event], object]) -> None:
        self._agent, self._driver, self._config, self._tell = agent, driver, config, tell
        self._remembered: Remembered | None = None

    def perform(self, action: Action) -> None:
        match action:
            case Remember():
                self._remember(action)
            case SetLimits():
                _log.info("setting %s: %s", " ".join(f"{limit_w:.0f}" for limit_w in action.limits_w), action.reason)
                self._driver.set_limits(action.limits_w)
            case LockClocks():
                _log.info("locking clocks, MHz (0: unlocked): %s", " ".join(f"{clock_hz / 1e6:.0f}" for clock_hz in action.clocks_hz))
                self._driver.lock_clocks(action.clocks_hz)
            case ReadLimits():
                self._driver.read_limits()
            case SendReport():
                self._agent.send(action.sealed)
            case Say():
                raise AssertionError("the loop says it")
            case _:
                assert_never(action)

    def begin(self, epoch: int, mode: "Mode.ValueType") -> None:
        """What cannot be written keeps nobody from the floor; limits above it wait until it can."""
        try:
            self.remember(epoch, mode)
        except OSError as why:
            _log.warning("%s is not written: %s", self._config.state_file, why)

    def _remember(self, action: Remember) -> None:
        try:
            self.remember(action.epoch, action.mode)
        except OSError as why:
            self._tell(RememberFailed(str(why)))
            raise Unperformed from why

    def remember(self, epoch: int, mode: "Mode.ValueType") -> None:
        """Raises OSError. The floor stands there for `--floor`, should the configuration be unreadable then."""
        remembered = Remembered(epoch, mode, self._config.floor_w)
        if remembered != self._remembered:
            save_state(self._config.state_file, remembered)
            self._remembered = remembered
