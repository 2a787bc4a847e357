"""The four daemons of this machine as threads of one process, on a bus of their own."""

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from gpuwarden.agent.config import AgentConfig
from gpuwarden.agent.limiter.cards import Cards
from gpuwarden.agent.limiter.config import LimiterConfig
from gpuwarden.agent.limiter.main import limit
from gpuwarden.agent.limiter.state import Remembered
from gpuwarden.agent.main import collect_and_relay
from gpuwarden.cli.up_part import Part
from gpuwarden.controller.config import ControllerConfig, read_keys
from gpuwarden.controller.main import ControllerShell
from gpuwarden.core.bus import BusConfig
from gpuwarden.core.bus_memory import MemoryBus
from gpuwarden.detector.config import DetectorConfig
from gpuwarden.detector.machine import Detector
from gpuwarden.detector.main import detect
from gpuwarden.proto.lease_pb2 import Mode
from gpuwarden.proto.topics import TELEMETRY

JUDGE_S: Final = 2.0  # for the last samples


@dataclass(frozen=True, slots=True)
class Here:
    """This machine. `cards` is None where their limits cannot be vouched for, and `why_not` says why."""

    node: str
    gpus: int
    cards: Cards | None
    why_not: str
    state: Path
    events: Path | None


class Daemons:
    """They run from construction to exit. One that fails sets `stop`, and `failures` names it.

    `driver_answered` says, afterwards, that there was a limiter and that it could leave the limits as it wanted to.
    """

    def __init__(
        self, here: Here, config: ControllerConfig, follow: Callable[[MemoryBus, threading.Event], None], stop: threading.Event
    ) -> None:
        self._here, self._bus, self._stop = here, MemoryBus(), stop
        self._parts: list[Part] = []
        self.driver_answered = False
        keys = read_keys(config)
        with ExitStack() as opened:  # closed in reverse: first who puts telemetry in, last who counts it
            self._start(opened, "tally", lambda stop: follow(self._bus, stop))
            self.shell = opened.enter_context(ControllerShell(config, keys, lambda stop: self._bus, here.events))
            self.detector = self._start_detector(opened)
            if here.cards is not None:
                self._start_limiter(opened, here.cards, keys[here.node], config.domains[0].classes[0].floor_w)
            self._start_agent(opened)
            opened.callback(self._tell_edges)
            self._opened = opened.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *why: object) -> None:
        self._opened.close()

    def failures(self) -> list[str]:
        """Whose and why; empty as long as all is well."""
        controller = ["controller: ended by itself"] if self.shell.failed else []
        return controller + [part.failure for part in self._parts if part.failure]

    def _tell_edges(self) -> None:
        """Together: each waits for a while where the driver hangs."""
        for part in self._parts:
            if part.name in ("agent", "limiter"):
                part.tell()

    def _start(self, opened: ExitStack, name: str, body: Callable[[threading.Event], None]) -> None:
        self._parts.append(opened.enter_context(Part(name, body, self._stop)))

    def _start_detector(self, opened: ExitStack) -> Detector:
        config = DetectorConfig(BusConfig("memory"))
        detector = Detector(config.setup)
        self._start(opened, "detector", lambda stop: detect(self._bus, config, config.setup, detector, stop, self._here.events))
        opened.callback(self._let_judge, detector)
        return detector

    def _start_limiter(self, opened: ExitStack, cards: Cards, key: bytes, floor_w: float) -> None:
        state, events = self._here.state, self._here.events
        config = LimiterConfig(state / "key-in-memory", floor_w, self._here.node, self._socket, state_file=state / "limiter.json")
        begins = Remembered(0, Mode.MODE_OBSERVE)  # what to do is said anew at every start

        def body(stop: threading.Event) -> None:
            self.driver_answered = limit(config, key, begins, cards, stop, events)

        self._start(opened, "limiter", body)

    def _start_agent(self, opened: ExitStack) -> None:
        limiter = self._socket if self._here.cards is not None else None
        config = AgentConfig(self._here.node, controller=self.shell.address, limiter_socket=limiter)
        self._start(opened, "agent", lambda stop: collect_and_relay(config, lambda stop: self._bus, stop, self._here.events))

    @property
    def _socket(self) -> Path:
        return self._here.state / "limiter.sock"

    def _let_judge(self, detector: Detector) -> None:
        """The agent has ended: what is on the bus is all there will be."""
        with self._bus.changed:
            sent = sum(partition.end for partition in self._bus.partitions(TELEMETRY))
        end_s = time.monotonic() + JUDGE_S
        while detector.samples_judged + detector.samples_repeated + detector.refused < sent and time.monotonic() < end_s:
            time.sleep(0.02)
