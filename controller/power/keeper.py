"""One power domain as it lives: its nodes' records, its breaker's heat, and what is granted at each decision."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from gpuwarden.controller.policies import POLICIES
from gpuwarden.controller.policies.view import RowView
from gpuwarden.controller.power import heat as thermal
from gpuwarden.controller.power.allocator import Grants, Situation, allocate
from gpuwarden.controller.power.domain import DomainConfig, NodeClass
from gpuwarden.controller.power.exposure import Exposure
from gpuwarden.controller.power.hostlist import expand
from gpuwarden.controller.power.row import SETTLING_S, Row, Seconds, Watts, row_of
from gpuwarden.controller.record import NodeRecord
from gpuwarden.proto.lease_pb2 import Mode


@dataclass(frozen=True, slots=True)
class Timing:
    """`learn_s`: how long a fresh controller only listens, so that grants in force are known before it changes any."""

    lease_s: float
    stale_s: float
    learn_s: float


@dataclass(frozen=True, slots=True)
class Decision:
    """The limits that a tick arrived at, and the sums behind them. Arrays have one entry a node."""

    limits_w: Watts  # the floor for a node that nobody vouches for
    holds: bool  # the breaker carries what may be drawn, whoever vouches for it
    counted_limits_w: Watts  # worst limit that each node may have been obeying before this decision
    counted_w: float  # worst draw of everything outstanding before this decision, dead nodes included
    measured_w: float  # upper estimate of the draw now
    unaccounted_nodes: tuple[str, ...]  # those that nobody vouches for, counted at the driver's default
    learning: bool

    @property
    def unaccounted(self) -> int:
        return len(self.unaccounted_nodes)


@dataclass(slots=True)
class Keeper:
    """Mutable state of a domain."""

    config: DomainConfig
    timing: Timing
    budget_w: float
    mode: "Mode.ValueType"
    nodes: tuple[NodeRecord, ...]
    row: Row
    heat: float
    heat_s: float | None = None
    started_s: float | None = None
    decided_s: float = -math.inf
    urgent_left: int = 0  # decisions that need not wait for the next tick
    decision: Decision | None = None
    powers_w: Watts = field(default_factory=lambda: np.zeros(0))

    def decide(self, now_s: float) -> Decision:
        """Policy's wishes through the allocator, on the readings of this moment."""
        self.started_s = now_s if self.started_s is None else self.started_s
        live = now_s - np.array([n.heard_s for n in self.nodes]) <= self.timing.stale_s
        granted_w = np.array([n.granted_w for n in self.nodes])
        counted_w, held_s = self._counted(now_s, granted_w)
        self.powers_w = np.array([n.power_w for n in self.nodes])
        measured_w = self._measured_w(live, counted_w)
        self._warm(now_s, measured_w)
        unaccounted = np.isinf(held_s)
        learning = self._learning(now_s, unaccounted)
        grantable = live & ~unaccounted
        situation = Situation(
            budget_w=self.budget_w, heat=self.heat, counted_w=counted_w, held_s=held_s,
            granted_w=np.minimum(granted_w, counted_w),  # a lease that has ended left the floor
            grantable=grantable,
            fresh=now_s - np.array([n.raised_s for n in self.nodes]) < SETTLING_S,
            may_raise=not learning and int(live.sum()) * 2 > len(self.nodes),
            lease_s=self.timing.lease_s + float(self.row.settle_s.max()),
        )
        grants = allocate(self.row, situation, self._wishes(now_s, granted_w))
        if unaccounted.sum() > self.row.dead_count:
            grants = Grants(self.row.floor_w.copy(), grants.holds)
        limits_w = np.where(grantable, grants.limits_w, self.row.floor_w)
        self.decided_s = now_s
        nobodys = tuple(self.nodes[index].name for index in np.flatnonzero(unaccounted))
        self.decision = Decision(limits_w, grants.holds, counted_w, self.row.total_w(counted_w), measured_w, nobodys, learning)
        return self.decision

    def _counted(self, now_s: float, granted_w: Watts) -> tuple[Watts, Seconds]:
        """Outside auto nothing is enforced; decisions are made as if the grants of the ledger were."""
        if self.mode != Mode.MODE_AUTO:
            return granted_w, np.full(len(self.nodes), self.timing.lease_s)
        counted = np.array([n.exposure.counted(now_s) for n in self.nodes])
        return counted[:, 0], counted[:, 1]

    def _measured_w(self, live: np.ndarray[tuple[int], np.dtype[np.bool_]], counted_w: Watts) -> float:
        """Upper estimate: sensors at their worst error, silent nodes at the worst that they may do."""
        gpus_w = np.where(live & ~np.isnan(self.powers_w), self.powers_w, counted_w)
        return float(self.row.draws_w(gpus_w).sum())

    def _warm(self, now_s: float, measured_w: float) -> None:
        if self.heat_s is not None:
            self.heat = thermal.after(self.heat, measured_w / self.budget_w, now_s - self.heat_s)
            self.heat = min(self.heat, thermal.UNKNOWN_SHARE * self.config.trip_heat)
        self.heat_s = now_s

    def _learning(self, now_s: float, unaccounted: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> bool:
        assert self.started_s is not None
        return bool(unaccounted.any()) and now_s - self.started_s < self.timing.learn_s

    def _wishes(self, now_s: float, granted_w: Watts) -> Watts:
        if self._resumed(now_s):
            return granted_w
        peaks_w = np.array([n.peak_w for n in self.nodes])
        rises_w = np.array([n.rising_w(now_s) for n in self.nodes])
        limits_w = np.array([n.limit_w for n in self.nodes]) if self.mode == Mode.MODE_AUTO else granted_w
        return POLICIES[self.config.policy](RowView(self.row, self.budget_w, peaks_w, self.powers_w, limits_w, rises_w))

    def _resumed(self, now_s: float) -> bool:
        """A controller that came back within a lease leaves the grants that it found for one lease as they are."""
        assert self.started_s is not None
        return any(n.resumed for n in self.nodes) and now_s - self.started_s < self.timing.lease_s

    def set_budget(self, budget_w: float) -> None:
        """The heat is in terms of the budget: a change leaves it unknown until measured load has cooled it."""
        self.budget_w = budget_w
        self.heat = thermal.UNKNOWN_SHARE * self.config.trip_heat

    def set_mode(self, mode: "Mode.ValueType") -> None:
        """Entering auto begins at the floor; outside it nothing is capped."""
        if (mode == Mode.MODE_AUTO) != (self.mode == Mode.MODE_AUTO):
            for node in self.nodes:
                node.granted_w = _beginning_w(node.exposure, mode)
        self.mode = mode

    def without_us_w(self) -> float:
        """What the row may draw if every node is at the driver's default."""
        return float(self.row.draws_w(self.row.default_w).sum())


def keeper_of(config: DomainConfig, timing: Timing, keys: Mapping[str, bytes], budget_w: float, mode: "Mode.ValueType") -> Keeper:
    """A domain at the start: nothing known of its nodes, its breaker's history unknown, hence just below the trip."""
    nodes = []
    for made in config.classes:
        floor_w, default_w = made.gpus * made.floor_w, made.gpus * made.default_w
        nodes += [
            _node(name, made, keys[name], Exposure(floor_w, default_w, made.settle_s), mode) for name in expand(made.nodes)
        ]
    heat = thermal.UNKNOWN_SHARE * config.trip_heat
    return Keeper(config, timing, budget_w, mode, tuple(nodes), row_of(config), heat)


def _node(name: str, made: NodeClass, key: bytes, exposure: Exposure, mode: "Mode.ValueType") -> NodeRecord:
    return NodeRecord(name, made, key, exposure, granted_w=_beginning_w(exposure, mode))


def _beginning_w(exposure: Exposure, mode: "Mode.ValueType") -> float:
    """In auto everything is raised from the floor; outside, "would have capped" is told from the default."""
    return exposure.floor_w if mode == Mode.MODE_AUTO else exposure.default_w
