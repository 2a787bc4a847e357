"""A serving row under a ladder of clock locks, with the delays of out-of-band control: the paper's setting, without our allocator."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gpuwarden.controller.policies.ladder import BRAKE, UNLOCKED, Ladder, Standing, climb, clocks
from gpuwarden.sim.serving.meter import Meter
from gpuwarden.sim.serving.mixed import Mixed
from gpuwarden.sim.serving.model import Server
from gpuwarden.sim.serving.relation import Relation
from gpuwarden.sim.serving.requests import Requests
from gpuwarden.sim.serving.servers import Servers
from gpuwarden.sim.serving.training import Job, Training

Values = NDArray[np.float64]

HOUR_S: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Delays:
    """s. The paper's: a meter that shows the present draw every 2 s, a lock through the BMC up to 40 s, the brake 5 s."""

    telemetry_s: float = 2.0
    lock_s: float = 40.0
    brake_s: float = 5.0


@dataclass(frozen=True, slots=True)
class RowSetup:
    """`budget_servers`: how many nameplates make the budget. `high_ratio`: share of the servers that serve the high priority; either has one.

    `training`: a job whose nodes hang on the row besides its servers, of the high priority.
    """

    servers: int
    budget_servers: int
    ladder: Ladder
    brake: bool = True
    high_ratio: float = 0.5
    server: Server = field(default_factory=Server)
    relation: Relation = field(default_factory=Relation)
    delays: Delays = field(default_factory=Delays)
    more_power: float = 1.0  # what the row draws, as a multiple of what was profiled
    training: Job | None = None

    @property
    def budget_w(self) -> float:
        return self.budget_servers * self.server.rated_w

    @property
    def high(self) -> NDArray[np.bool_]:
        return np.arange(self.servers) < min(max(round(self.high_ratio * self.servers), 1), self.servers - 1)

    @property
    def lasts(self) -> NDArray[np.bool_]:
        """Who gives last: one entry a server, then one a node of the job."""
        return np.concatenate([self.high, np.ones(self.training.nodes if self.training else 0, bool)])


@dataclass(slots=True)
class Run:
    """What happened. `load` is one value a meter reading: the row's power as a share of its budget."""

    load: Values
    finish_s: Values
    brakes: int = 0
    trips: int = 0
    over_rating_s: float = 0.0
    locked_s: dict[int, float] = field(default_factory=dict)  # by rung
    training: Training | None = None


class _Orders:
    """Locks on their way: each takes its time, and they arrive in order."""

    def __init__(self) -> None:
        self._sent: deque[tuple[float, tuple[float, float]]] = deque()
        self.in_force = (UNLOCKED, UNLOCKED)

    @property
    def due_s(self) -> float:
        return self._sent[0][0] if self._sent else inf

    def send(self, due_s: float, to: tuple[float, float]) -> None:
        self._sent.append((due_s, to))

    def arrive(self, now_s: float) -> None:
        while self.due_s <= now_s:
            self.in_force = self._sent.popleft()[1]


def row_of(setup: RowSetup, asked: Requests, kinds_high: NDArray[np.bool_]) -> Servers | Mixed:
    """Empty, at the beginning of the job."""
    servers = Servers(setup.server, setup.high, asked, kinds_high, setup.relation)
    if setup.training is None:
        return servers
    return Mixed(servers, Training(setup.training, setup.server, servers.step_s, servers.step_w), setup.relation)


def run(
    setup: RowSetup, asked: Requests, kinds_high: NDArray[np.bool_], duration_s: float, progress: Callable[[float], None] = lambda now_s: None
) -> Run:
    """From an empty row on. `progress` is told the virtual time once an hour, and at the end."""
    servers = row_of(setup, asked, kinds_high)
    meter = Meter(servers, setup.more_power / setup.budget_w)
    readings = round(duration_s / setup.delays.telemetry_s)
    made = Run(np.zeros(readings), servers.finish_s, training=servers.training if isinstance(servers, Mixed) else None)
    locks, brake = _Orders(), _Orders()
    stands, brakes = Standing(), Standing()
    for reading in range(readings):
        read_s = (reading + 1) * setup.delays.telemetry_s
        _advance(setup, servers, locks, brake, read_s)
        made.load[reading] = load = meter.read(read_s)
        made.locked_s[stands.rungs] = made.locked_s.get(stands.rungs, 0.0) + setup.delays.telemetry_s
        stands = _decide(setup.ladder, stands, read_s, load, setup.delays.lock_s, locks)
        if setup.brake:
            before = brakes.rungs
            brakes = _decide(BRAKE, brakes, read_s, load, setup.delays.brake_s, brake)
            made.brakes += brakes.rungs > before
        if read_s % HOUR_S == 0 or reading == readings - 1:
            meter.fold(read_s)
            progress(read_s)
    made.over_rating_s, made.trips = meter.over_rating_s, meter.trips
    return made


def _advance(setup: RowSetup, servers: Servers | Mixed, locks: _Orders, brake: _Orders, until_s: float) -> None:
    while (due_s := min(locks.due_s, brake.due_s)) < until_s:
        servers.advance(due_s)
        locks.arrive(due_s)
        brake.arrive(due_s)
        servers.lock(due_s, _clocks(setup, locks.in_force, brake.in_force))
    servers.advance(until_s)


def _decide(ladder: Ladder, stands: Standing, now_s: float, load: float, delay_s: float, orders: _Orders) -> Standing:
    climbed = climb(ladder, stands, now_s, load, delay_s)
    if climbed != stands:
        orders.send(now_s + delay_s, clocks(ladder, climbed))
    return climbed


def _clocks(setup: RowSetup, locks: tuple[float, float], brake: tuple[float, float]) -> Values:
    low, high = (min(lock, braked) for lock, braked in zip(locks, brake, strict=True))
    return np.where(setup.lasts, high, low)


def largest_rise(load: Values, readings: int) -> float:
    """Over at most so many readings."""
    lowest = np.lib.stride_tricks.sliding_window_view(load, readings + 1).min(axis=1)
    return float((load[readings:] - lowest).max())
