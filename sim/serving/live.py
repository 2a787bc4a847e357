"""A serving row under gpuwarden itself: the real controller, limiters and agents in virtual time, in band, on the allocator.

A server's cards work as one (tensor parallel), so its limiter has one card of all their power. It is read twice a second, not ten times, and
decisions are taken once a second and where power jumps: each is later than it would be, none is sooner. A server obeys LAG_S after its limit
is set. Controller, network and sessions are those of the safety simulation, and so is most of what befalls them (`faults`). The row has a meter,
as the paper's has: it is read every 2 s.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Final, assert_never

import numpy as np
from numpy.typing import NDArray

from gpuwarden.agent import events as agent_events
from gpuwarden.agent.limiter import events as limiter_events
from gpuwarden.agent.limiter.card import Card, CardState
from gpuwarden.agent.limiter.events import ClocksLocked, Directive, LimitsRead, PowerRead
from gpuwarden.agent.limiter.machine import Limiter, LimiterSetup
from gpuwarden.agent.machine import Agent, AgentSetup
from gpuwarden.controller.events import ReportArrived, ReportMeter
from gpuwarden.controller.policies.ladder import BRAKE
from gpuwarden.controller.power.domain import DomainConfig
from gpuwarden.controller.power.keeper import Timing
from gpuwarden.controller.power.meter_config import MeterConfig
from gpuwarden.controller.power.node_class import NodeClass
from gpuwarden.core.machine import Say
from gpuwarden.proto.lease_pb2 import MODE_OBSERVE, Mode
from gpuwarden.sim.safety.excuses import Excuses
from gpuwarden.sim.safety.head import Around, Head
from gpuwarden.sim.safety.memory import Memory
from gpuwarden.sim.safety.network import CLEAR, Network, Weather
from gpuwarden.sim.safety.sessions import Sessions
from gpuwarden.sim.safety.site import USUAL, Element, Site
from gpuwarden.sim.safety.stage import Stage
from gpuwarden.sim.serving.faults import Planned, strike
from gpuwarden.sim.serving.meter import TRIP_S, Meter
from gpuwarden.sim.serving.mixed import Mixed
from gpuwarden.sim.serving.requests import Requests
from gpuwarden.sim.serving.row import HOUR_S, RowSetup, Run, row_of
from gpuwarden.sim.timeline import Timeline

ROW: Final = "row"
READ_S: Final = 0.501  # a little more, so that a limiter's report of every second is due at every second reading
TICK_S: Final = 0.999  # a little less: by its own clock, which may be fast, a controller that looks no oftener than once a second has not looked
SET_S: Final = 0.12  # eight cards, 15 ms each
LAG_S: Final = 0.15
GAIN: Final = 0.04  # sensors are off by at most this; a node class counts with 0.05
FLOOR_W, LOWEST_W = 200.0, 100.0  # of one card
CLOCK_MAX_HZ: Final = 1.41e9  # an A100's
TIMING: Final = Timing(lease_s=5.0, stale_s=3.0, learn_s=2.5)
RACK: Final = 4  # servers


@dataclass(frozen=True, slots=True)
class Held:
    """What our own control did. `capped_ratio`: share of server time under a limit below the driver's default, `locked_ratio` under a clock lock."""

    limits_set: int
    clocks_set: int
    capped_ratio: float
    locked_ratio: float


class _Node:
    """The agent and the limiter of one server."""

    def __init__(self, name: str, number: int, row: "LiveRow", card: Card, floor_w: float, key: bytes, gain: float) -> None:
        self.name, self._number, self._row, self._gain, self._key = name, number, row, gain, key
        self._card, self._floor_w = card, floor_w
        self._remembered: tuple[int, Mode.ValueType] = 0, MODE_OBSERVE
        self._limiter: Limiter | None = None
        self._agent = Agent(AgentSetup(name, f"{number:016x}", ()))
        self._starts = 0
        self.default_w, self.limit_w, self.clock = card.default_w, card.default_w, 1.0
        self.limits_set = self.clocks_set = 0
        self.hear(agent_events.LimiterLink(True))
        self.hear(agent_events.ControllerLink(True))

    def begin(self) -> None:
        """A new limiter, which knows what the last one wrote down."""
        self._starts += 1
        start = f"{self._number:08x}{self._starts:08x}"
        self._limiter = Limiter(LimiterSetup(self.name, start, (self._card,), (self._floor_w,), *self._remembered), self._key)

    def end(self) -> None:
        """Killed: what was ordered and not yet set is lost."""
        self._limiter = None

    def set_by_others(self, limit_w: float) -> None:
        """Behind its limiter's back, or instead of a dead one."""
        self.limit_w = limit_w
        self._row.time.after(LAG_S, self._obey)

    def read(self, power_w: float) -> None:
        self._to_limiter(PowerRead((power_w * self._gain,)))

    def granted(self, sealed: bytes) -> None:
        self.hear(agent_events.FromController(sealed))

    def hear(self, event: agent_events.Event) -> None:
        for action in self._agent.step(self._row.time.now_s, event):
            match action:
                case agent_events.ToController(sealed):
                    self._row.reported(self._number, sealed)
                case agent_events.ToLimiter(sealed):
                    self._to_limiter(Directive(sealed))
                case agent_events.Collect() | agent_events.SendTelemetry() | agent_events.SendComm() | Say():
                    pass
                case agent_events.RunProbe() | agent_events.StopProbe() | agent_events.AnswerProbe():
                    raise AssertionError("no test is asked of a simulated node")
                case _:
                    assert_never(action)

    def _to_limiter(self, event: limiter_events.Event) -> None:
        if self._limiter is None:
            return
        for action in self._limiter.step(self._row.time.now_s, event):
            match action:
                case limiter_events.SetLimits((limit_w,)):
                    self.limits_set += 1
                    self._row.time.after(SET_S, partial(self._set, limit_w))
                case limiter_events.LockClocks((clock_hz,)):
                    self.clocks_set += 1
                    self._row.time.after(SET_S, partial(self._lock, clock_hz))
                case limiter_events.ReadLimits():
                    self._read_back(ordered=False)
                case limiter_events.SendReport(sealed):
                    self.hear(agent_events.FromLimiter(sealed))
                case limiter_events.Remember(epoch, mode):
                    self._remembered = epoch, mode
                case Say():
                    pass
                case _:
                    raise AssertionError(action)

    def _set(self, limit_w: float) -> None:
        if self._limiter is None:
            return
        self.limit_w = limit_w
        self._read_back(ordered=True)
        self._row.time.after(LAG_S, self._obey)

    def _lock(self, clock_hz: float) -> None:
        if self._limiter is None:
            return
        self.clock = clock_hz / CLOCK_MAX_HZ if clock_hz else 1.0
        self._to_limiter(ClocksLocked((clock_hz,), ("",)))
        self._row.time.after(LAG_S, self._obey)

    def _obey(self) -> None:
        free = self.limit_w >= self.default_w
        self._row.hold(self._number, self.clock, None if free else self.limit_w / self._gain)

    def _read_back(self, ordered: bool) -> None:
        self._to_limiter(LimitsRead((CardState(self.limit_w, self.limit_w),), driver_loads=1, ordered=ordered))


class LiveRow(Stage):
    """`policy` is one of the controller's, `ramp_w_per_s` the domain's. Chance comes from `seed`. `weather`: how messages go where no fault makes it worse."""

    servers: list[_Node]

    def __init__(
        self, setup: RowSetup, policy: str, asked: Requests, kinds_high: NDArray[np.bool_], seed: int, ramp_w_per_s: float | None = None,
        faults: Sequence[Planned] = (), weather: Weather = CLEAR,
    ) -> None:
        server = setup.server
        self.time, self.chance, self.read_s, self._setup = Timeline(), Random(seed), READ_S, setup
        self._plant = row_of(setup, asked, kinds_high)
        self.meter, self.meter_told = Meter(self._plant, setup.more_power / setup.budget_w), True
        self._idle_w = server.gpus * server.tdp_w * server.idle_ratio
        names = [f"{'high' if high else 'low'}{number}" for number, high in enumerate(setup.high)]
        names += [f"training{number}" for number in range(setup.training.nodes if setup.training else 0)]
        chance = np.random.default_rng([seed, len(names)])
        keys = {name: chance.bytes(32) for name in names}
        card = Card("card", server.gpus * server.tdp_w, server.gpus * LOWEST_W, server.gpus * server.tdp_w, CLOCK_MAX_HZ)
        self.site = _site(_domain(setup, policy, names, card, ramp_w_per_s), names)
        self.network = Network(len(names), self.time, self.chance, weather)
        self.excuses = Excuses(self.site, self.chance)
        self.servers = [
            _Node(name, number, self, card, server.gpus * _floor_w(setup, name), keys[name], float(chance.uniform(1 - GAIN, 1 + GAIN)))
            for number, name in enumerate(names)
        ]
        self.head = Head(Around(self.site, keys, self.time, self.chance, self._grant), "simulated", Memory())
        self.sessions = Sessions(self.head, len(names), self.time, self.chance, self._reachable)
        self.faults, self.finish_s = faults, self._plant.finish_s

    @property
    def budget_w(self) -> float:
        return self._setup.budget_w

    def run(self, duration_s: float, progress: Callable[[float], None] = lambda now_s: None) -> tuple[Run, Held]:
        readings, every_s = round(duration_s / self._setup.delays.telemetry_s), self._setup.delays.telemetry_s
        made = Run(np.zeros(readings), self.finish_s, training=self._plant.training if isinstance(self._plant, Mixed) else None)
        capped = locked = 0
        braked = False
        self._begin()
        for reading in range(readings):
            now_s = (reading + 1) * every_s
            self.time.run(now_s)
            self._plant.advance(now_s)
            made.load[reading] = load = self.meter.read(now_s)
            if self.meter_told:
                self.head.hear(ReportMeter(reading, "simulated", str(reading), ROW, ROW, load * self._setup.budget_w, 0.0))
            capped += sum(node.limit_w < node.default_w for node in self.servers)
            locked += sum(node.clock < 1.0 for node in self.servers)
            before, braked = braked, any(node.clock <= BRAKE[0].low_clock for node in self.servers)
            made.brakes += braked and not before
            if now_s % HOUR_S == 0 or reading == readings - 1:
                self.meter.fold(now_s)
                progress(now_s)
        made.over_rating_s, made.trips = self.meter.over_rating_s, self.meter.trips
        whole = readings * len(self.servers)
        limits_set, clocks_set = sum(node.limits_set for node in self.servers), sum(node.clocks_set for node in self.servers)
        return made, Held(limits_set, clocks_set, capped / whole, locked / whole)

    def _begin(self) -> None:
        self.head.start()
        for node in self.servers:
            node.begin()
        self.time.every(READ_S, self._read, first_s=READ_S)
        self.time.every(TICK_S, self.head.tick, first_s=TICK_S / 3)
        for fault in self.faults:
            self.time.at(fault.begin_s, partial(strike, self, fault))

    def carry(self, foreign_w: float) -> None:
        """So much besides its servers hangs on the row from now on."""
        self._plant.advance(self.time.now_s)
        self.meter.carry(self.time.now_s, foreign_w / self._setup.more_power)

    def reported(self, number: int, sealed: bytes) -> None:
        """A node's agent sends it."""
        link = self.sessions.links[number]
        if link.session is not None:
            self.network.carry(number, partial(self._report, link.session), sealed)

    def _report(self, session: int, sealed: bytes) -> None:
        self.head.hear(ReportArrived(session, sealed))

    def _grant(self, number: int, sealed: bytes) -> None:
        self.network.carry(number, self.servers[number].granted, sealed)

    def _reachable(self, number: int) -> bool:
        way = self.network.ways[number]
        return not way.cut and way.agent != "hung"

    def hold(self, number: int, clock: float, limit_w: float | None) -> None:
        """From now on; `limit_w` of the cards' draw."""
        self._plant.advance(self.time.now_s)
        self._plant.hold(self.time.now_s, number, clock, np.inf if limit_w is None else max(0.0, limit_w / self._setup.more_power - self._idle_w))

    def _read(self) -> None:
        self._plant.advance(self.time.now_s)
        cards_w = self._setup.more_power * (self._plant.watts - self._setup.server.base_w)
        for node, power_w in zip(self.servers, cards_w.tolist(), strict=True):
            node.read(power_w)


def _floor_w(setup: RowSetup, name: str) -> float:
    """Of one card. Beside a job the low priority makes all the room that it can; the job's own floor is low, since below it no ramp holds."""
    return FLOOR_W if setup.training is None or name.startswith("high") else LOWEST_W


def _domain(setup: RowSetup, policy: str, names: list[str], card: Card, ramp_w_per_s: float | None) -> DomainConfig:
    """The row as its operator would write it down, with one dead node in every sum. A job gives last; POLCA, which knows two priorities, has it in the high one."""

    def made(name: str, priority: str, workload: str) -> NodeClass:
        nodes = tuple(node for node in names if node.startswith(name))
        return NodeClass(
            name, nodes, gpus=1, base_w=setup.server.base_w, floor_w=setup.server.gpus * _floor_w(setup, name), default_w=card.default_w, slope=1.0,
            priority=priority, workload=workload,
        )

    priorities: tuple[str, ...] = ("low", "high")
    classes: tuple[NodeClass, ...] = made("low", "low", "inference"), made("high", "high", "inference")
    if setup.training:
        priorities += () if policy == "polca" else ("training",)
        classes += (made("training", priorities[-1], "training"),)
    return DomainConfig(
        ROW, setup.budget_w, classes, mode="auto", policy=policy, priorities=priorities, ramp_w_per_s=ramp_w_per_s, dead_nodes=1, meter=MeterConfig("grpc"),
    )


def _site(domain: DomainConfig, names: Sequence[str]) -> Site:
    """As the safety simulation knows one: the row alone, its servers in racks."""
    classes = tuple(next(made for made in domain.classes if name in made.nodes) for name in names)
    racks = tuple(tuple(range(first, min(first + RACK, len(names)))) for first in range(0, len(names), RACK))
    breaker = Element(ROW, "thermal", domain.rating_w, np.inf, TRIP_S, np.inf, int(domain.tree().root.dead_counts[0]))
    return Site(domain, TIMING, tuple(names), classes, (breaker,), {USUAL: np.ones((1, len(names)))}, {USUAL: np.zeros(1)}, 1, racks)
