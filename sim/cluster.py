"""A row of nodes in virtual time, with the real machines: agents, limiters, detector and controller.

Messages take a few milliseconds, each its own; the bus keeps the order of a node's records. Chance comes from one seed.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, assert_never

import numpy as np

from gpuwarden.agent.events import ControllerLink, FromController
from gpuwarden.controller import events as controller_events
from gpuwarden.controller.events import (
    FindingArrived,
    Notify,
    Publish,
    ReportArrived,
    SendGrant,
    SessionOpened,
    WriteLedger,
)
from gpuwarden.controller.ledger import Ledger
from gpuwarden.controller.machine import Controller, ControllerSetup
from gpuwarden.controller.power.domain import DomainConfig
from gpuwarden.controller.power.keeper import Timing
from gpuwarden.core.machine import Say
from gpuwarden.core.version import VERSION
from gpuwarden.detector import events as detector_events
from gpuwarden.detector.events import Commit, DeadLetter, Polled, PublishFinding, PublishProgress, Raw
from gpuwarden.detector.machine import Detector, DetectorSetup
from gpuwarden.proto.control_pb2 import Action as Line
from gpuwarden.proto.control_pb2 import WatchResponse
from gpuwarden.sim.loads import Load, Mishap
from gpuwarden.sim.node import Node, Wires
from gpuwarden.sim.plant import STEP_S, Plant
from gpuwarden.sim.tally import Tally
from gpuwarden.sim.timeline import Timeline
from gpuwarden.sim.watch import Watch

DELAY_S: Final = (0.001, 0.005)
POLL_S: Final = 0.1
BUS_POLL_S: Final = 0.25
TICK_S: Final = 0.1
CONNECT_S: Final = 0.5
KEY_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Row:
    """What to simulate. The domain's nodes are the load's; `unix_ns` is the wall clock at the start."""

    load: Load
    domain: DomainConfig
    timing: Timing
    seed: int
    unix_ns: int
    mishaps: tuple[Mishap, ...] = ()


@dataclass(frozen=True, slots=True)
class Outside:
    """Where the row meets the world."""

    ledger: Ledger
    watch: Watch
    publish: Callable[[WatchResponse], None]
    said: Callable[[str, Say], None]
    telemetry: Callable[[str, bytes], None]


class Cluster:
    """Runs when its timeline does."""

    def __init__(self, row: Row, outside: Outside) -> None:
        self._row, self._outside = row, outside
        self.time, self.tally = Timeline(), Tally()
        self._chance = np.random.default_rng(row.seed)
        made = row.domain.classes[0]
        self.plant = Plant(row.load.host_w, row.load.gpus, made.slope, self._chance)
        keys = {name: self._chance.bytes(KEY_BYTES) for name in row.load.nodes}
        for name, key in keys.items():
            outside.watch.keep_key(name, key)
        self.nodes = [
            Node(name, place, self.plant, self.time, self._chance, keys[name], made.floor_w, outside.watch)
            for place, name in enumerate(row.load.nodes)
        ]
        setup = ControllerSetup("simulated", 0, (row.domain,), (), row.timing)
        self.controller = Controller(setup, keys)
        self._controller = outside.watch.machine("controller", "simulated", setup, self.controller)
        self.detector = Detector(DetectorSetup())
        self._detector = outside.watch.machine("detector", "simulated", DetectorSetup(), self.detector)
        self._bus: deque[Raw] = deque()
        self._offset = 0
        self._cut_off = False
        self._plan()

    def _plan(self) -> None:
        """What happens without anybody's order."""
        self.time.every(STEP_S, self._advance)
        self.time.every(POLL_S, self._read_powers, first_s=POLL_S)
        self.time.every(TICK_S, lambda: self._to_controller(controller_events.Tick(self._unix_ns())), first_s=TICK_S / 2)
        self.time.every(BUS_POLL_S, self._poll)
        self.time.every(1.0, lambda: self._to_detector(detector_events.Tick(self._unix_ns())), first_s=1.0)
        for session, node in enumerate(self.nodes):
            node.wires = Wires(self._reporter(session), self._sender(node.name), self._outside.said)
            self.time.at(float(self._chance.uniform(0.0, CONNECT_S)), self._connector(session, node))
        for mishap in self._row.mishaps:
            self.time.at(mishap.time_s, self._strike(mishap))
        self._samples = self._row.load.samples()
        self._next_sample()

    def _strike(self, mishap: Mishap) -> Callable[[], None]:
        return lambda: self.nodes[mishap.node].mishap(mishap.kind, mishap.gpu, mishap.code, mishap.message)

    def cut_off(self) -> None:
        """From now on no grant reaches any node."""
        self._cut_off = True

    def hear(self, event: controller_events.Event) -> None:
        """The controller is told something from beside the row, as by a meter."""
        self._to_controller(event)

    def settle(self) -> None:
        """Judges what the bus still holds."""
        self._poll()

    def _unix_ns(self) -> int:
        return self._row.unix_ns + round(self.time.now_s * 1e9)

    def _advance(self) -> None:
        self.plant.demand_w[:] = self._row.load.demands_w(self.time.now_s)
        self.plant.advance()
        budget_w = self.controller.keepers[self._row.domain.name].budget_w
        self.tally.power(float(self.plant.wanted_w().sum()), float(self.plant.node_w().sum()), budget_w, STEP_S)

    def _read_powers(self) -> None:
        for node in self.nodes:
            node.read_power()

    def _next_sample(self) -> None:
        sample = next(self._samples, None)
        if sample is not None:
            self.time.at(sample[0], lambda: self._look(sample[1]))

    def _look(self, node: int) -> None:
        self.nodes[node].look(self._unix_ns())
        self._next_sample()

    def _delay_s(self) -> float:
        return float(self._chance.uniform(*DELAY_S))

    def _connector(self, session: int, node: Node) -> Callable[[], None]:
        def connect() -> None:
            self._to_controller(SessionOpened(session, node.name, VERSION))
            node.connect()
            node.hear(ControllerLink(True))

        return connect

    def _reporter(self, session: int) -> Callable[[bytes], None]:
        return lambda sealed: self.time.after(self._delay_s(), lambda: self._to_controller(ReportArrived(session, sealed)))

    def _sender(self, name: str) -> Callable[[bytes], None]:
        def send(payload: bytes) -> None:
            self.tally.samples_sent += 1
            self._bus.append(Raw(0, self._offset, name, payload))
            self._offset += 1
            self._outside.telemetry(name, payload)

        return send

    def _poll(self) -> None:
        if self._bus:
            records, self._bus = tuple(self._bus), deque()
            self._to_detector(Polled(records))

    def _to_detector(self, event: detector_events.Event) -> None:
        for action in self._detector(self.time.now_s, event):
            match action:
                case PublishFinding(_, payload):
                    self.time.after(self._delay_s(), self._finding(payload))
                case DeadLetter():
                    self.tally.dead_letters += 1
                case Commit() | PublishProgress():
                    pass  # the bus of the simulation forgets what it has handed out, and nobody reads scores there
                case Say():
                    self._outside.said("detector", action)
                case _:
                    assert_never(action)

    def _finding(self, payload: bytes) -> Callable[[], None]:
        return lambda: self._to_controller(FindingArrived(payload))

    def _to_controller(self, event: controller_events.Event) -> None:
        for action in self._controller(self.time.now_s, event):
            self._controller_acts(action)

    def _controller_acts(self, action: controller_events.Action) -> None:
        match action:
            case WriteLedger(payloads):
                self._outside.ledger.append(payloads, self._unix_ns())
                self.tally.ledger_ordered.update(Line.FromString(payload).kind for payload in payloads)
            case SendGrant(session, sealed):
                self.tally.grants_sent += 1
                if not self._cut_off:
                    self.time.after(self._delay_s(), lambda: self.nodes[session].hear(FromController(sealed)))
            case Publish(snapshot):
                self._outside.publish(snapshot)
            case Notify():
                if action.firing:
                    self.tally.alerts_fired.append(action.title)
            case controller_events.Beat() | controller_events.RememberMaintenance() | controller_events.RememberJobFloor():
                pass  # nobody listens to the simulation, and nobody mends it
            case controller_events.RememberEpoch(epoch):
                self._outside.ledger.remember_epoch(epoch)
            case controller_events.RememberHeat(heats):
                self._outside.ledger.remember_heats(heats)
            case controller_events.RememberForeign(foreign):
                self._outside.ledger.remember_foreign(foreign)
            case controller_events.RememberLearnt(learnt):
                self._outside.ledger.remember_learnt(learnt)
            case controller_events.RememberDomain(domain, budget_w, mode):
                self._outside.ledger.remember_domain(domain, budget_w, mode)
            case controller_events.Reply() | controller_events.OutOfBand():
                raise AssertionError("nobody asks in the simulation, and it has no BMCs")
            case Say():
                self._outside.said("controller", action)
            case _:
                assert_never(action)
