"""The controller's state as its API tells it."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from gpuwarden.controller.alerts import Alerts
from gpuwarden.controller.job_floors import floor_shown
from gpuwarden.controller.lines import Lines
from gpuwarden.controller.people import alert_shown, maintenance_of
from gpuwarden.controller.power.allocator import NOBODY
from gpuwarden.controller.power.keeper import Keeper
from gpuwarden.controller.record import NodeRecord
from gpuwarden.proto.control_pb2 import (
    NODE_STATE_HUNG,
    NODE_STATE_LIVE,
    NODE_STATE_STALE,
    NODE_STATE_UNKNOWN,
    GetClusterResponse,
    LimiterCounts,
    Meter,
    NodeState,
    PowerDomain,
    PowerLimit,
    SensorGain,
    WatchResponse,
)
from gpuwarden.proto.lease_pb2 import MODE_UNSPECIFIED


def complete(
    picture: WatchResponse, now_s: float, cluster: GetClusterResponse, keepers: Sequence[Keeper], alerts: Alerts, lines: Lines
) -> None:
    """To one that has all nodes everything else that can be watched; `cluster` is filled in with the sums."""
    states = Counter(node.state for node in picture.nodes)
    cluster.domains.extend(power_domain(now_s, keeper) for keeper in keepers)
    cluster.node_count, cluster.firing_count = len(picture.nodes), len(alerts.firing)
    cluster.live_count, cluster.stale_count = states[NODE_STATE_LIVE], states[NODE_STATE_STALE]
    picture.cluster.CopyFrom(cluster)
    picture.findings.extend([*alerts.firing.values(), *reversed(alerts.resolved)])
    picture.actions.extend(lines.newest)
    picture.alerts.extend(map(alert_shown, alerts.telling.groups.values()))
    picture.maintenance.extend(map(maintenance_of, alerts.windows.open.values()))


def power_domain(now_s: float, keeper: Keeper) -> PowerDomain:
    """`power_w` is the best estimate; a silent node counts at the worst that it may draw."""
    live = int(keeper.live(now_s).sum())
    capped = int((NodeRecord.granted_w.of(keeper.rows) < keeper.tree.default_w).sum())
    counted_w = keeper.decision.counted_w if keeper.decision else math.nan
    return PowerDomain(
        name=keeper.config.name, rating_w=keeper.config.rating_w, budget_w=keeper.budget_w, mode=keeper.mode,
        power_w=float(keeper.tree.root.other_w[0]) + _power_w(now_s, keeper), counted_w=counted_w,
        floors_w=keeper.tree.total_w(keeper.tree.floor_w), heat_ratio=keeper.loads.heat_ratio,
        node_count=len(keeper.nodes), live_count=live,
        decided_age_s=now_s - keeper.decided_s if keeper.decision else None,
        sentence=f"{live} of {len(keeper.nodes)} nodes in contact, {capped} capped below the driver's default",
        limits=_limits(now_s, keeper), job_floors=map(floor_shown, keeper.wishing.least.shown),
    )


def _limits(now_s: float, keeper: Keeper) -> Iterator[PowerLimit]:
    """None before the first decision."""
    decision, loads, number = keeper.decision, keeper.loads, 0
    for level, heat, ratings_w, drawn_w in zip(keeper.tree.levels, loads.heats, loads.ratings_w, loads.measured_w, strict=False):
        assert decision is not None, "what is measured has been decided on"
        counted_w, floors_w = level.totals_w(decision.counted_limits_w[level.nodes]), level.totals_w(level.members.floor_w)
        for place, name in enumerate(level.names):
            yield PowerLimit(
                name=name, rating_w=ratings_w[place], power_w=drawn_w[place], counted_w=counted_w[place], floors_w=floors_w[place],
                heat_ratio=heat[place] / level.breakers.trip_heat[place], node_count=int(level.counts[place]),
                contingency=level.cases[place], holds=number not in decision.failing, foreign_w=loads.foreign_w(number),
                meter=_meter(now_s, keeper, name),
            )
            number += 1


def _meter(now_s: float, keeper: Keeper, limit: str) -> Meter | None:
    if (meter := keeper.meters.by_limit.get(limit)) is None:
        return None
    learnt = keeper.meters.calibrations.by_limit.get(limit)
    return Meter(
        kind=meter.config.kind, power_w=meter.power_w, age_s=now_s - meter.told_s, nodes_w=meter.ours_w, base_w=meter.base_w,
        surplus_w=meter.surplus_w, lacks_w=meter.lacks_w, silent=meter.silent(now_s), failure=meter.failure,
        rest_w=learnt.rest_w if learnt else math.nan,
        gains=[SensorGain(of=one.of, mean=one.mean, sd=one.sd, known=one.known, counted=one.counts) for one in learnt.gains] if learnt else (),
    )


def _power_w(now_s: float, keeper: Keeper) -> float:
    """Of all nodes together, at their supplies."""
    told_w = NodeRecord.power_w.of(keeper.rows)
    worst_w = keeper.decision.counted_limits_w if keeper.decision else keeper.tree.default_w
    gpus_w: list[float] = np.where(np.isnan(told_w) | ~keeper.live(now_s), worst_w, told_w).tolist()
    return sum(node.made.base_w + node.made.slope * of_node_w for node, of_node_w in zip(keeper.nodes, gpus_w, strict=True))


def show_nodes(picture: WatchResponse, now_s: float, keeper: Keeper, places: slice, firing: Mapping[str, int]) -> None:
    """More of them: the nodes at these places of a domain. `firing`: how many findings fire of which node, by name."""
    of, rows, nodes, decision = NodeRecord, keeper.rows[:, places], keeper.nodes[places], keeper.decision
    counted_w, held_s = keeper.outlook(now_s, places)
    live, power_w = keeper.live(now_s)[places], of.power_w.of(rows)
    worst_w = decision.counted_limits_w[places] if decision else keeper.tree.default_w[places]
    bound_by = decision.bound_by[places].tolist() if decision else [NOBODY] * len(nodes)
    columns = (
        power_w, np.where(np.isnan(power_w) | ~live, worst_w, power_w), of.granted_w.of(rows), of.limit_w.of(rows), counted_w,
        now_s - of.received_s.of(rows), held_s, of.clock_hz.of(rows), live,
    )
    for node, bound, told_w, drawn_w, granted_w, limit_w, most_w, age_s, ends_in_s, clock_hz, lives in zip(
        nodes, bound_by, *(column.tolist() for column in columns), strict=True
    ):
        report, made = node.report, node.made
        shown = picture.nodes.add(
            name=node.name, state=_state(node, lives), domain=keeper.config.name, gpu_count=made.gpus,
            gpu_power_w=told_w, power_w=made.base_w + made.slope * drawn_w, granted_w=granted_w,
            enforced_w=limit_w, default_w=node.exposure.default_w, floor_w=node.exposure.floor_w, counted_w=most_w,
            report_age_s=age_s, lease_ends_in_s=ends_in_s, firing=firing.get(node.name, 0), reason=node.reason,
            mode=report.mode if report else MODE_UNSPECIFIED, cards=report.cards if report else (),
            agent_version=node.agent_version, limiter_version=report.limiter_version if report else "",
            refusal=report.refusal if report else "",
            bound_by="" if bound == NOBODY else keeper.tree.limit_names[bound], clock_hz=clock_hz, clock_reason=node.clock_reason,
        )
        _show_counts(shown.counts, node)


def _show_counts(counts: LimiterCounts, node: NodeRecord) -> None:
    """In place: a message made apart is copied field by field."""
    counts.SetInParent()
    counts.reports_refused = node.refused
    if (report := node.report) is not None:
        counts.guard_trips, counts.foreign_changes = report.guard_trips, report.foreign_changes
        counts.refusals, counts.driver_loads = report.refusals, report.driver_loads


def _state(node: NodeRecord, live: bool) -> "NodeState.ValueType":
    if node.report is None:
        return NODE_STATE_UNKNOWN
    if not live:
        return NODE_STATE_STALE
    return NODE_STATE_HUNG if node.report.driver_hung else NODE_STATE_LIVE
