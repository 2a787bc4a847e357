"""A decision becomes sealed grants, and for each limit that changes a ledger line before them."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from gpuwarden.controller.events import Action, SendGrant, WriteLedger
from gpuwarden.controller.lines import Lines
from gpuwarden.controller.power.allocator import NOBODY
from gpuwarden.controller.power.keeper import Decision, Keeper
from gpuwarden.controller.power.level import SETTLING_S
from gpuwarden.controller.record import NodeRecord
from gpuwarden.core.seal import Way, seal
from gpuwarden.proto.lease_pb2 import MODE_AUTO, Grant

GRANT_VERSION = 1


@dataclass(slots=True)
class Authority:
    """Who grants. `epoch` grows at every start, beyond every epoch that any limiter has obeyed."""

    controller_id: str
    past: int
    epoch: int = field(init=False)

    def __post_init__(self) -> None:
        self.epoch = self.past


@dataclass(frozen=True, slots=True)
class _Change:
    """Of one node, by its place in the domain: sums over its GPUs."""

    index: int
    node: NodeRecord
    before_w: float
    limit_w: float
    clock_before_hz: float
    clock_hz: float


def give(now_s: float, keeper: Keeper, decision: Decision, authority: Authority, lines: Lines) -> Iterator[Action]:
    """Grants for the nodes that can be reached and whose limit changes, or whose newest report has had no answer.

    While a fresh controller learns the grants in force, it gives none.
    """
    if decision.learning:
        return
    pending = [
        _Change(index, node, node.standing_w(now_s), float(decision.limits_w[index]), node.clock_hz, float(decision.clocks_hz[index]))
        for index, node in keeper.awaiting(decision)
        if node.live(now_s, keeper.timing.stale_s)
    ]
    changed = [_line(keeper, decision, change, authority, lines) for change in pending if change.limit_w != change.before_w]
    changed += [_clock_line(keeper, change, authority, lines) for change in pending if change.clock_hz != change.clock_before_hz]
    if changed:
        yield WriteLedger(tuple(changed))
    for change in pending:
        yield _grant(now_s, keeper, change, authority)


def _grant(now_s: float, keeper: Keeper, change: _Change, authority: Authority) -> SendGrant:
    node, limit_w = change.node, change.limit_w
    report, session, lease_s = node.report, node.session, keeper.timing.lease_s
    assert report is not None and session is not None, "only a live node is granted anything"
    assert node.exposure.floor_w <= limit_w <= node.exposure.default_w, (node.name, limit_w)
    node.sequence += 1
    if limit_w > node.standing_w(now_s):
        node.overshoots_until_s, node.raised, node.unpaid_s = math.inf, node.sequence, SETTLING_S
    if limit_w != node.granted_w:
        node.asks(now_s)
    if keeper.mode == MODE_AUTO:
        node.exposure.granted(node.sequence, limit_w, node.received_s, lease_s)
    else:
        node.exposure.released(node.sequence, report.stamp_s, lease_s)
    node.granted_w, node.clock_hz, node.unanswered = limit_w, change.clock_hz, 0.0
    grant = Grant(
        version=GRANT_VERSION, node=node.name, epoch=authority.epoch, controller_id=authority.controller_id,
        sequence=node.sequence, echo_limiter_start=report.limiter_start, echo_stamp_s=report.stamp_s, lease_s=lease_s,
        limits_w=[limit_w / node.made.gpus] * len(report.cards), mode=keeper.mode,
        clocks_hz=[change.clock_hz] * len(report.cards) if change.clock_hz else (),
    )
    return SendGrant(session, seal(node.key, Way.DOWN, node.name, grant.SerializeToString()))


def _line(keeper: Keeper, decision: Decision, change: _Change, authority: Authority, lines: Lines) -> bytes:
    node = change.node
    node.reason = _reason(keeper, decision, change)
    return lines.line(
        "floor" if change.limit_w <= node.exposure.floor_w else "cap",
        node.name,
        node.reason,
        epoch=authority.epoch,
        performed=keeper.mode == MODE_AUTO,
        evidence=(
            ("limit before", change.before_w, "W"),
            ("limit", change.limit_w, "W"),
            ("GPU power", node.power_w, "W"),
            (f"{keeper.config.name} draws at most", keeper.loads.drawn_w, "W"),
            (f"{keeper.config.name} worst case before", decision.counted_w, "W"),
            (f"{keeper.config.name} budget", keeper.budget_w, "W"),
        ),
    )


def _clock_line(keeper: Keeper, change: _Change, authority: Authority, lines: Lines) -> bytes:
    """0 MHz: not locked."""
    did = f"clocks locked to {change.clock_hz / 1e6:.0f} MHz" if change.clock_hz else "clocks unlocked"
    bound = int(keeper.wishing.locked_by[change.index])
    change.node.clock_reason = f"{did}: {keeper.loads.shown(bound)}, {keeper.wishing.why(keeper.loads, bound)}"
    return lines.line(
        "clock", change.node.name, change.node.clock_reason, epoch=authority.epoch,
        performed=keeper.mode == MODE_AUTO,
        evidence=(
            ("clock before", change.clock_before_hz / 1e6, "MHz"),
            ("clock", change.clock_hz / 1e6, "MHz"),
            ("GPU power", change.node.power_w, "W"),
            (f"{keeper.config.name} draws at most", keeper.loads.drawn_w, "W"),
        ),
    )


def _reason(keeper: Keeper, decision: Decision, change: _Change) -> str:
    name, each_w = keeper.config.name, change.limit_w / change.node.made.gpus
    if why_not := _why_not(keeper, decision, change.index):
        return f"to the floor of {each_w:.0f} W a GPU: {why_not}"
    verb = "capped" if change.limit_w < change.before_w else "raised"
    if change.limit_w >= change.node.exposure.default_w:
        return f"{verb} to the driver's default of {each_w:.0f} W a GPU: {name} can carry it, budget {keeper.budget_w / 1e3:,.1f} kW"
    bound = int(decision.bound_by[change.index])
    return f"{verb} to {each_w:.0f} W a GPU: {keeper.loads.shown(bound)}, {keeper.why(change.index)}"


def _why_not(keeper: Keeper, decision: Decision, index: int) -> str:
    """Why this node is at the floor; empty if it need not be."""
    if decision.unaccounted[index]:
        return "nobody vouches for this node: its limiter has confirmed no limit since it, its driver or we came up"
    if (braked := int(decision.braked_under[index])) != NOBODY:
        return f"the brake: {keeper.loads.shown(braked)} by what is measured, with little left before it trips"
    tree, crowd, bound = keeper.tree, int(decision.crowded_under[index]), int(decision.bound_by[index])
    if crowd != NOBODY:
        number, place = tree.places[crowd]
        return (
            f"nobody vouches for {decision.unaccounted[tree.under(crowd)].sum()} nodes of {tree.limit_names[crowd]}, "
            f"more than the {tree.levels[number].dead_counts[place]} that are always counted at the driver's default"
        )
    return f"{keeper.loads.shown(bound)} and may draw more than it carries until its leases have ended" if bound in decision.failing else ""
