"""One node of the simulated row: the real agent and the real limiter on cards of the plant."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, assert_never

import numpy as np

from gpuwarden.agent import events as agent_events
from gpuwarden.agent.events import Collect, Collected, FromLimiter, LimiterLink
from gpuwarden.agent.limiter import events as limiter_events
from gpuwarden.agent.limiter.card import Card, CardState
from gpuwarden.agent.limiter.events import (
    ClocksLocked,
    Directive,
    LimitsRead,
    LockClocks,
    PowerRead,
    ReadLimits,
    Remember,
    SendReport,
    SetLimits,
)
from gpuwarden.agent.limiter.machine import Limiter, LimiterSetup
from gpuwarden.agent.machine import Agent, AgentSetup
from gpuwarden.agent.reading import DeviceEvent, DeviceReading, Reading
from gpuwarden.core.machine import Say
from gpuwarden.proto.catalogue import Device
from gpuwarden.proto.lease_pb2 import Mode
from gpuwarden.sim.plant import CLOCK_MAX_HZ, DEFAULT_W, MIN_W, Plant
from gpuwarden.sim.timeline import Timeline
from gpuwarden.sim.watch import Watch

COLLECTOR: Final = "simulated"
SET_S: Final = (0.010, 0.020)  # a card, behind a lock that all cards of a node share
READ_S: Final = 0.001
SOCKET_S: Final = 0.0005
THROTTLED_BY_LIMIT: Final = 0x4


@dataclass(frozen=True, slots=True)
class Wires:
    """Where a node's messages go."""

    report: Callable[[bytes], None]
    telemetry: Callable[[bytes], None]
    said: Callable[[str, Say], None]


class Node:
    """`row` is its place in the plant's arrays. Its limiter's clock is ahead of everybody else's by a time of its own."""

    def __init__(
        self, name: str, row: int, plant: Plant, timeline: Timeline, chance: np.random.Generator, key: bytes, floor_w: float,
        watch: Watch,
    ) -> None:
        self.name, self._row, self._plant, self._time, self._chance = name, row, plant, timeline, chance
        self._ahead_s = float(chance.uniform(1e3, 1e6))
        gpus = plant.limit_w.shape[1]
        self._cards = tuple(Card(f"GPU-{name}-{gpu}", DEFAULT_W, MIN_W, DEFAULT_W, CLOCK_MAX_HZ) for gpu in range(gpus))
        start = bytes(chance.bytes(8)).hex()
        setup = LimiterSetup(name, start, self._cards, (floor_w,) * gpus, 0, Mode.MODE_OBSERVE)
        self._limiter = watch.machine("limiter", name, setup, Limiter(setup, key))
        agent_setup = AgentSetup(name, start, (COLLECTOR,))
        self._agent = watch.machine("agent", name, agent_setup, Agent(agent_setup))
        self._events: list[DeviceEvent] = []
        self._driver_free_s = 0.0
        self.limits_set = 0
        self.wires: Wires | None = None

    def connect(self) -> None:
        """The agent has found its limiter."""
        self.hear(LimiterLink(True))

    def read_power(self) -> None:
        """Ten times a second: the limiter's tick."""
        self._to_limiter(PowerRead(tuple(self._plant.sensor_w[self._row].tolist())))

    def look(self, unix_ns: int) -> None:
        """The agent's tick."""
        self._to_agent(agent_events.Tick(unix_ns))

    def hear(self, event: agent_events.Event) -> None:
        """Something has come to the agent: its session is up or down, or brings a grant."""
        self._to_agent(event)

    def mishap(self, kind: str, gpu: int, code: int, message: str) -> None:
        """Told by the driver; in the telemetry of the next pass."""
        self._events.append(DeviceEvent(kind, self._cards[gpu].uuid, code, message))

    def _to_agent(self, event: agent_events.Event) -> None:
        for action in self._agent(self._time.now_s, event):
            self._agent_acts(action)

    def _agent_acts(self, action: agent_events.Action) -> None:
        assert self.wires is not None
        match action:
            case Collect():
                self._to_agent(Collected(COLLECTOR, self._reading(), 0.01))
            case agent_events.SendTelemetry():
                self.wires.telemetry(action.payload)
            case agent_events.SendComm():
                raise AssertionError("no rank runs on a simulated node")
            case agent_events.RunProbe() | agent_events.StopProbe() | agent_events.AnswerProbe():
                raise AssertionError("no test is asked of a simulated node")
            case agent_events.ToController():
                self.wires.report(action.sealed)
            case agent_events.ToLimiter():
                self._time.after(SOCKET_S, lambda: self._to_limiter(Directive(action.sealed)))
            case Say():
                self.wires.said(f"agent {self.name}", action)
            case _:
                assert_never(action)

    def _to_limiter(self, event: limiter_events.Event) -> None:
        for action in self._limiter(self._ahead_s + self._time.now_s, event):
            self._limiter_acts(action)

    def _limiter_acts(self, action: limiter_events.Action) -> None:
        assert self.wires is not None
        match action:
            case SetLimits():
                self._set(action.limits_w)
            case LockClocks():
                self._lock(action.clocks_hz)
            case ReadLimits():
                self._drive(READ_S, lambda: self._read_back(ordered=False))
            case SendReport():
                self._time.after(SOCKET_S, lambda: self._to_agent(FromLimiter(action.sealed)))
            case Remember():
                pass  # limiters of the simulation are not restarted
            case Say():
                self.wires.said(f"limiter {self.name}", action)
            case _:
                assert_never(action)

    def _set(self, limits_w: tuple[float, ...]) -> None:
        def done() -> None:
            self._plant.limit_w[self._row] = limits_w
            self._read_back(ordered=True)

        self.limits_set += len(limits_w)
        self._drive(float(self._chance.uniform(*SET_S, len(limits_w)).sum()), done)

    def _lock(self, clocks_hz: tuple[float, ...]) -> None:
        def done() -> None:
            self._plant.clock_ratio[self._row] = [clock_hz / CLOCK_MAX_HZ if clock_hz else 1.0 for clock_hz in clocks_hz]
            self._to_limiter(ClocksLocked(clocks_hz, ("",) * len(clocks_hz)))

        self._drive(float(self._chance.uniform(*SET_S, len(clocks_hz)).sum()), done)

    def _drive(self, cost_s: float, done: Callable[[], None]) -> None:
        """Calls of the driver wait for each other."""
        self._driver_free_s = max(self._driver_free_s, self._time.now_s) + cost_s
        self._time.at(self._driver_free_s, done)

    def _read_back(self, ordered: bool) -> None:
        limits_w = self._plant.limit_w[self._row].tolist()
        self._to_limiter(LimitsRead(tuple(CardState(w, w) for w in limits_w), driver_loads=1, ordered=ordered))

    def _reading(self) -> Reading:
        events, self._events = tuple(self._events), []
        gpus = tuple(DeviceReading(Device.GPU, card.uuid, gpu, self._gpu(gpu)) for gpu, card in enumerate(self._cards))
        host = DeviceReading(Device.HOST, self.name, 0, {"host_power_watts": float(self._plant.node_w()[self._row])})
        return Reading((*gpus, host), events=events)

    def _gpu(self, gpu: int) -> dict[str, float]:
        plant, at = self._plant, (self._row, gpu)
        power_w, limit_w, held = float(plant.sensor_w[at]), float(plant.limit_w[at]), plant.demand_w[at] > plant.limit_w[at]
        return {
            "gpu_power_watts": power_w,
            "gpu_power_limit_default_watts": DEFAULT_W,
            "gpu_power_limit_requested_watts": limit_w,
            "gpu_power_limit_enforced_watts": limit_w,
            "gpu_energy_joules_total": float(plant.energy_j[at]),
            "gpu_throttle_reasons": float(THROTTLED_BY_LIMIT if held else 0),
            "gpu_temperature_celsius": 28.0 + power_w / 14.0,
            "gpu_utilization_ratio": min(1.0, power_w / 600.0),
            "gpu_lost": 0.0,
        }
