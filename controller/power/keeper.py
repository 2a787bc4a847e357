"""One power domain as it lives: its nodes' records, its limits' heat, and what is granted at each decision."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from gpuwarden.controller.power.allocator import NOBODY, RAISE_STEPS, STEP_W, Situation, allocate
from gpuwarden.controller.power.brake import Brake, brake_of
from gpuwarden.controller.power.columns import Numbers, beginnings
from gpuwarden.controller.power.domain import DomainConfig
from gpuwarden.controller.power.exposure import Exposure, grant, surely_ended_s
from gpuwarden.controller.power.foreign_kept import ForeignKept, LimitForeign
from gpuwarden.controller.power.hostlist import expand
from gpuwarden.controller.power.learnt_kept import EVERY_S, LimitLearnt
from gpuwarden.controller.power.least import least_of
from gpuwarden.controller.power.level import RAISED_RATIO, SETTLING_S, Flags, Places, Seconds, Watts
from gpuwarden.controller.power.limit_heat import Granted, HeatKept, LimitHeat, found
from gpuwarden.controller.power.loads import Loads, Unseen, ratings_w
from gpuwarden.controller.power.meters import Meters
from gpuwarden.controller.power.node_class import NodeClass
from gpuwarden.controller.power.predecessor import REPORT_S, drawn_since_w, granted_ago_s
from gpuwarden.controller.power.ranks import ranks_of
from gpuwarden.controller.power.tree import Tree
from gpuwarden.controller.power.wishing import Seen, Wishing
from gpuwarden.controller.record import RISING_S, NodeRecord
from gpuwarden.proto.lease_pb2 import MODE_AUTO, Mode

CLOCK_STEP_HZ = 15e6
SHORTEST_S = 1e-3
UNSEEN_S = 1.0  # from one decision to the next; a fifth is usual


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
    bound_by: Places  # the limit that left each node less than was wished, as a place in `Tree.limit_names`; -1: none
    failing: tuple[int, ...]  # limits that may not carry what may be drawn, whoever vouches for it
    braked_under: Places  # a limit above the node that carries more than it may, by what is measured; -1: none
    crowded_under: Places  # a limit above the node with more nodes that nobody vouches for than it counts as dead; -1: none
    counted_limits_w: Watts  # worst limit that each node may have been obeying before this decision
    counted_w: float  # worst draw of everything outstanding before this decision, dead nodes included
    unaccounted: Flags  # nodes that nobody vouches for, counted at the driver's default
    learning: bool
    wishes_w: Watts  # the policy's
    clocks_hz: Numbers  # 0: not locked

    @property
    def holds(self) -> bool:
        return not self.failing


@dataclass(slots=True)
class Keeper:
    """Mutable state of a domain."""

    config: DomainConfig
    timing: Timing
    mode: "Mode.ValueType"
    nodes: tuple[NodeRecord, ...]
    rows: Numbers
    """The nodes' own, side by side."""
    exposures: Numbers
    loads: Loads
    wishing: Wishing
    meters: Meters
    foreign_kept: ForeignKept
    brake: Brake
    foreign_changes: tuple[LimitForeign, ...] = ()
    """What of foreign load must be durable before the newest decision's grants leave."""
    started_s: float | None = None
    decided_s: float = -math.inf
    decision: Decision | None = None
    learnt_s: float = math.inf
    """When what the policy has learnt was last kept."""
    powers_w: Watts = field(default_factory=lambda: np.zeros(0))
    _words: dict[int, str] = field(default_factory=dict)
    """Of the newest decision, as far as somebody has asked."""

    def decide(self, now_s: float) -> Decision:
        """Policy's wishes through the allocator, on the readings of this moment."""
        self.started_s = now_s if self.started_s is None else self.started_s
        live = self.live(now_s)
        granted_w = NodeRecord.granted_w.of(self.rows)
        counted_w, held_s = self._counted(now_s, granted_w)
        self.powers_w = NodeRecord.power_w.of(self.rows)
        self.foreign_changes, self._words = (), {}
        if self.meters.measure(now_s, self._sensed_w(live, counted_w), live):
            self.loads.carry(self.meters.carried_w, self.meters.gain)
            self.foreign_changes = self.foreign_kept.changes(self.meters.by_limit)
        since_s = self._since_s(now_s)
        drawn_w = self._drawn_w(now_s, live, counted_w, since_s)
        unseen = Unseen(self._overshot_w(now_s, drawn_w, counted_w), ~live, since_s)
        self.loads.measure(now_s, drawn_w, self.meters.shown_w(now_s), self.meters.overstated_w(now_s), unseen)
        unaccounted = np.isinf(held_s)
        braked_under = self._braked_under(now_s, live & ~unaccounted)
        learning = self._learning(now_s, unaccounted)
        grantable = live & ~unaccounted
        situation = Situation(
            ratings_w=self.loads.ratings_w, heats=self.loads.heats, counted_w=counted_w, held_s=held_s,
            granted_w=np.minimum(granted_w, counted_w),  # a lease that has ended left the floor
            grantable=grantable,
            fresh=(now_s < NodeRecord.overshoots_until_s.of(self.rows)) & (counted_w > self.tree.floor_w),
            unpaid=NodeRecord.unpaid_s.of(self.rows) / SETTLING_S,
            may_raise=self._may_raise(now_s, live) & (not learning),
            lease_s=self._lapse_s, resuming=self._resumed(now_s),
        )
        wishes_w, bound_by = self._wishes(now_s, granted_w, situation, learning)
        grants = allocate(self.tree, situation, wishes_w, bound_by)
        crowded_under = self.crowded_under(unaccounted)
        free = grantable & (crowded_under == NOBODY) & (braked_under == NOBODY)
        limits_w = np.where(free, grants.limits_w, self.tree.floor_w)
        self.decided_s = now_s
        self.decision = Decision(
            limits_w, grants.bound_by, tuple(grants.failing), braked_under, crowded_under, counted_w, self.tree.total_w(counted_w),
            unaccounted, learning, wishes_w, self._clocks_hz(bool(learning or self._resumed(now_s))),
        )
        return self.decision

    def awaiting(self, now_s: float, decision: Decision) -> Places:
        """Nodes that can be reached whose newest report has had no answer, or to whom something else was granted before."""
        of = NodeRecord
        other = (decision.limits_w != of.granted_w.of(self.rows)) | (decision.clocks_hz != of.clock_hz.of(self.rows))
        return np.flatnonzero((other | (of.unanswered.of(self.rows) > 0.0)) & self.live(now_s))

    def grants(self, now_s: float, places: Places, limits_w: Watts, clocks_hz: Numbers) -> None:
        """These are about to leave; one entry for each of these live nodes."""
        of, rows, nodes = NodeRecord, self.rows, [self.nodes[place] for place in places.tolist()]
        assert ((self.tree.floor_w[places] <= limits_w) & (limits_w <= self.tree.default_w[places])).all()
        raised, other = limits_w > self.standing_w(now_s)[places], limits_w != rows[of.granted_w.place, places]
        for node, raises, changes in zip(nodes, raised.tolist(), other.tolist(), strict=True):
            node.numbers_grant(now_s, raises, changes)
        for column, values in ((of.granted_w, limits_w), (of.clock_hz, clocks_hz), (of.unanswered, 0.0)):
            rows[column.place, places] = values
        rows[of.overshoots_until_s.place, places[raised]], rows[of.unpaid_s.place, places[raised]] = math.inf, SETTLING_S
        if self.mode == MODE_AUTO:
            ends_s = surely_ended_s(rows[of.received_s.place, places], self.timing.lease_s, self.tree.settle_s[places])
            grant([node.exposure for node in nodes], self.exposures, places, [node.sequence for node in nodes], limits_w, ends_s)
        else:
            for node in nodes:
                node.released(self.timing.lease_s)

    def standing_w(self, now_s: float) -> Watts:
        """See `NodeRecord.standing_w`: of every node."""
        self._look(now_s)
        return np.minimum(NodeRecord.granted_w.of(self.rows), Exposure.worst_w.of(self.exposures))

    def outlook(self, now_s: float, places: slice) -> tuple[Watts, Seconds]:
        """See `Exposure.counted`: of some nodes."""
        self._look(now_s, places)
        rows = self.exposures[:, places]
        return Exposure.worst_w.of(rows), np.maximum(Exposure.worst_ends_s.of(rows) - now_s, 0.0)

    def live(self, now_s: float) -> Flags:
        """See `NodeRecord.live`: of every node."""
        flags: Flags = now_s - NodeRecord.heard_s.of(self.rows) <= self.timing.stale_s
        return flags

    def counted_w(self, limit: int) -> float:
        """Worst draw of everything that was outstanding before the newest decision."""
        assert self.decision is not None
        number, place = self.tree.places[limit]
        level = self.tree.levels[number]
        return float(level.totals_w(self.decision.counted_limits_w[level.nodes])[place])

    def heat_changes(self) -> tuple[LimitHeat, ...]:
        """What must be durable before the newest decision's grants leave."""
        assert self.decision is not None
        decision, auto = self.decision, self.mode == MODE_AUTO
        worst_w = np.maximum(decision.counted_limits_w, decision.limits_w)
        raised = decision.limits_w > np.minimum(NodeRecord.granted_w.of(self.rows), decision.counted_limits_w)
        unpaid = np.where(raised, 1.0, NodeRecord.unpaid_s.of(self.rows) / SETTLING_S)
        for_ever_w = np.where(decision.unaccounted, worst_w, self.tree.floor_w) if auto else self.tree.default_w
        return self.loads.heat_changes(Granted(worst_w, unpaid, for_ever_w, self._lapse_s))

    def learnt_changes(self, now_s: float) -> tuple[LimitLearnt, ...]:
        """What the policy has learnt, now and then."""
        self.learnt_s = min(self.learnt_s, now_s)
        if now_s - self.learnt_s < EVERY_S:
            return ()
        self.learnt_s = now_s
        return tuple(self.wishing.learnt(self.loads))

    def why(self, node: int) -> str:
        """What the policy did with a node in the newest decision, by its place; ends a sentence."""
        assert self.decision is not None
        wish_w, limit_w, gpus = self.decision.wishes_w.item(node), self.decision.limits_w.item(node), self.tree.gpus.item(node)
        if self.wishing.policy.stateful and wish_w - limit_w > RAISE_STEPS * STEP_W * gpus:
            return f"{self.config.policy} would give {wish_w / gpus:.0f} W, which is not certain to hold yet"
        words, least = self.words(self.decision.bound_by.item(node)), self.wishing.least
        kept = least.jobs[node] and limit_w <= least.watts[node] + STEP_W * gpus
        return f"{words}; job {least.jobs[node]} keeps {least.watts[node] / gpus:.0f} W" if kept else words

    def apart(self) -> Flags:
        """Nodes of which `why` may say more than it says of others under the same limit."""
        return np.ones(len(self.nodes), bool) if self.wishing.policy.stateful else self.wishing.least.of_jobs

    def words(self, limit: int) -> str:
        """What the policy did under a limit: the same for all nodes that it holds back."""
        if limit not in self._words:
            self._words[limit] = self.wishing.why(self.loads, limit)
        return self._words[limit]

    @property
    def tree(self) -> Tree:
        return self.loads.tree

    @property
    def budget_w(self) -> float:
        return self.loads.budget_w

    @property
    def _granted_nothing(self) -> bool:
        """Not before this decision."""
        return self.decision is None or self.decision.learning

    def _since_s(self, now_s: float) -> float | None:
        """How long ago, at most, whoever was the controller before us granted anything; None: we have granted."""
        if not self._granted_nothing:
            return None
        assert self.started_s is not None
        return granted_ago_s(now_s - self.started_s, self.rows, int(self.tree.root.dead_counts[0]), self._lapse_s)

    @property
    def _lapse_s(self) -> float:
        """Lease and settling of a new grant."""
        return self.timing.lease_s + self.tree.slowest_s

    def crowded_under(self, unaccounted: Flags) -> Places:
        """For each node the largest limit above it with more such nodes than it counts as dead."""
        whole = self.tree.whole
        return self._under(whole.tallies(unaccounted[whole.nodes]) > whole.dead_counts)

    def _braked_under(self, now_s: float, obeying: Flags) -> Places:
        """For each node the largest limit above it that is braked."""
        if self.mode == MODE_AUTO:
            told_w = np.where(obeying, np.fmax(self.powers_w, 0.0), 0.0)
            self.brake.look(now_s, self.tree.whole, told_w, self.loads.ratings_w)
        return self._under(self.brake.on)

    def _under(self, limits: Flags) -> Places:
        """For each node the largest of these limits above it, as a place in `Tree.limit_names`; -1 if none."""
        found, whole = np.full(len(self.nodes), NOBODY), self.tree.whole
        if limits.any():
            np.maximum.at(found, whole.nodes, whole.spread(np.where(limits, np.arange(len(limits)), NOBODY)))
        return found

    def _counted(self, now_s: float, granted_w: Watts) -> tuple[Watts, Seconds]:
        """Outside auto nothing is enforced; decisions are made as if the grants of the ledger were."""
        if self.mode != MODE_AUTO:
            return granted_w, np.full(len(self.nodes), self.timing.lease_s)
        return self.outlook(now_s, slice(None))

    def _look(self, now_s: float, places: slice = slice(None)) -> None:
        rows, nodes = self.exposures[:, places], self.nodes[places]
        due = np.flatnonzero(now_s >= Exposure.look_s.of(rows))
        if len(due):
            rows[:, due] = np.array([nodes[index].exposure.found(now_s) for index in due.tolist()]).T

    def _drawn_w(self, now_s: float, live: Flags, counted_w: Watts, since_s: float | None) -> Watts:
        """What each node's GPUs have drawn since the last decision, ours or of whoever was before us, at most, by their own readings; a silent node the
        worst that it may. What was drawn before a lease that has ended does not count.

        If nobody has looked for long, as after a stopped process goes on: all of them the worst that they might.
        """
        if self.decision is not None and now_s - self.decided_s > UNSEEN_S:
            return np.maximum(counted_w, np.maximum(self.decision.counted_limits_w, self.decision.limits_w))
        drawn_w = self.powers_w
        if since_s is not None and math.isfinite(since_s):
            drawn_w = np.maximum(drawn_w, drawn_since_w(self.rows, self.tree.default_w))
        return np.where(live & np.isfinite(drawn_w), drawn_w, counted_w)

    def _overshot_w(self, now_s: float, drawn_w: Watts, counted_w: Watts) -> Watts:
        """What raised nodes drew beyond that, of cards that pressed against their limits. It is over before a reading may show it, and is counted once."""
        unpaid_s, passed_s = NodeRecord.unpaid_s.of(self.rows), now_s - self.decided_s
        if not unpaid_s.any():
            return np.zeros(len(unpaid_s))
        NodeRecord.unpaid_s.write(self.rows, np.maximum(0.0, unpaid_s - passed_s))
        share = NodeRecord.pressing.of(self.rows) * np.minimum(1.0, unpaid_s / max(passed_s, SHORTEST_S))
        overshot_w: Watts = share * np.maximum(RAISED_RATIO * counted_w - drawn_w, 0.0)
        return overshot_w

    def _sensed_w(self, live: Flags, counted_w: Watts) -> Watts:
        """What each node's GPUs draw as its sensors tell it: no more than that explains a meter's reading.

        A silent node as it told last, or the worst that it may by now where that is less; one that has told nothing the worst that it may.
        """
        told_w = np.where(live, self.powers_w, np.minimum(self.powers_w, counted_w))
        return np.where(np.isnan(self.powers_w), counted_w, told_w)

    def _may_raise(self, now_s: float, live: Flags) -> Flags:
        """Nodes under no limit without live sessions to more than half of its nodes, nor under one whose meter has yet to speak."""
        assert self.started_s is not None
        whole = self.tree.whole
        barred = whole.tallies(~live[whole.nodes]) * 2 >= whole.counts
        if awaited := self.meters.awaited(now_s, self.started_s):
            barred |= np.array([element in awaited for element in whole.elements])
        free: Flags = self._under(barred) == NOBODY
        return free

    def _learning(self, now_s: float, unaccounted: Flags) -> bool:
        assert self.started_s is not None
        return bool(unaccounted.any()) and now_s - self.started_s < self.timing.learn_s

    def _wishes(self, now_s: float, granted_w: Watts, situation: Situation, learning: bool) -> tuple[Watts, Places]:
        """The policy's, and which limit left each node the least."""
        if self._resumed(now_s) or (learning and self.wishing.policy.stateful):  # as long as loads are guesses, nothing is to be learnt from them
            return granted_w, np.full(len(self.nodes), NOBODY)
        obeyed = self.mode == MODE_AUTO
        limits_w = NodeRecord.limit_w.of(self.rows) if obeyed else granted_w
        rises_w = np.where(now_s - NodeRecord.rose_s.of(self.rows) < RISING_S, NodeRecord.rise_w.of(self.rows), 0.0)
        lag_s = self._lag_s() if self.wishing.policy.stateful else 0.0
        lockable = NodeRecord.clock_max_hz.of(self.rows) > 0.0
        seen = Seen(NodeRecord.peak_w.of(self.rows), self.powers_w, limits_w, rises_w, lag_s, obeyed, situation.granted_w, lockable, situation.fresh)
        return self.wishing.wishes(now_s, self.loads, seen)

    def _clocks_hz(self, as_granted: bool) -> Numbers:
        """The policy's locks in steps that cards know, where every card of a node can be locked. The nearest: 0.787 of 1410 MHz are the 1110 that are meant."""
        if as_granted:
            return NodeRecord.clock_hz.of(self.rows)
        clocks = self.wishing.clocks
        if (clocks >= 1.0).all():
            return np.zeros(len(clocks))
        return np.where(clocks < 1.0, np.round(clocks * NodeRecord.clock_max_hz.of(self.rows) / CLOCK_STEP_HZ) * CLOCK_STEP_HZ, 0.0)

    def _lag_s(self) -> float:
        """From a change of power to the limit that answers it being obeyed, at most: until it is reported, until that is answered and set, until cards obey."""
        return REPORT_S + float(NodeRecord.lag_s.of(self.rows).max()) + self.tree.slowest_s

    def _resumed(self, now_s: float) -> bool:
        """A controller that came back within a lease leaves the grants that it found for one lease as they are."""
        assert self.started_s is not None
        return now_s - self.started_s < self.timing.lease_s and any(n.resumed for n in self.nodes)

    def set_mode(self, mode: "Mode.ValueType") -> None:
        """Entering auto begins at the floor; outside it nothing is capped."""
        if (mode == MODE_AUTO) != (self.mode == MODE_AUTO):
            for node in self.nodes:
                node.granted_w = _beginning_w(node.exposure, mode)
            self.brake = brake_of(self.tree.whole)
        self.mode = mode


def keeper_of(
    config: DomainConfig, timing: Timing, keys: Mapping[str, bytes], budget_w: float, mode: "Mode.ValueType",
    heats: Sequence[LimitHeat] = (), foreign: Sequence[LimitForeign] = (), learnt: Sequence[LimitLearnt] = (),
) -> Keeper:
    """A domain at the start: nothing known of its nodes, and of its limits' history what is remembered."""
    classes = [(name, made) for made in config.classes for name in expand(made.nodes)]
    rows, exposures = beginnings(NodeRecord, len(classes)), beginnings(Exposure, len(classes))
    nodes = [_node(name, made, keys[name], rows[:, i], exposures[:, i], mode) for i, (name, made) in enumerate(classes)]
    topology, tree = config.topology(), config.tree()
    begins = found(tree, ratings_w(tree, budget_w), [heat for heat in heats if heat.domain == config.name])
    loads = Loads(tree, budget_w, begins, HeatKept(config.name, tree))
    ramp_w_per_s = math.inf if config.ramp_w_per_s is None else config.ramp_w_per_s
    lapse_s = timing.lease_s + tree.slowest_s
    wishing = Wishing(config.name, config.policy, ranks_of(config.priorities, config.classes), ramp_w_per_s, lapse_s, least_of(tree, ()))
    wishing.remembered = {one.limit: one for one in learnt if one.domain == config.name}
    ours, meters = [one for one in foreign if one.domain == config.name], Meters(topology, tree, config.classes)
    for one in ours:
        if one.limit in meters.by_limit:
            meters.by_limit[one.limit].remember(one.foreign_w)
    return Keeper(config, timing, mode, tuple(nodes), rows, exposures, loads, wishing, meters, ForeignKept(config.name, ours), brake_of(tree.whole))


def _node(name: str, made: NodeClass, key: bytes, row: Numbers, exposures: Numbers, mode: "Mode.ValueType") -> NodeRecord:
    exposure = Exposure(made.gpus * made.floor_w, made.gpus * made.default_w, made.settle_s, row=exposures)
    node = NodeRecord(name, made, key, exposure, row)
    node.granted_w = _beginning_w(exposure, mode)
    return node


def _beginning_w(exposure: Exposure, mode: "Mode.ValueType") -> float:
    """In auto everything is raised from the floor; outside, "would have capped" is told from the default."""
    return exposure.floor_w if mode == MODE_AUTO else exposure.default_w
