"""A decision becomes sealed grants, and for each limit that changes a ledger line before them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

from gpuwarden.controller.events import Action, SendGrant, WriteLedger
from gpuwarden.controller.lines import Alike, Lines
from gpuwarden.controller.power.allocator import NOBODY
from gpuwarden.controller.power.keeper import Decision, Keeper
from gpuwarden.controller.power.level import Places
from gpuwarden.controller.record import NodeRecord
from gpuwarden.core.seal import Way, seal
from gpuwarden.proto.lease_pb2 import MODE_AUTO, Grant, PowerReport

GRANT_VERSION = 1


@dataclass(slots=True)
class Authority:
    """Who grants. `epoch` grows at every start, beyond every epoch that any limiter has obeyed."""

    controller_id: str
    past: int
    epoch: int = field(init=False)

    def __post_init__(self) -> None:
        self.epoch = self.past


class _Change(NamedTuple):
    """Of one node, by its place in the domain: sums over its GPUs. A tuple, since thousands are made in a decision."""

    place: int
    node: NodeRecord
    before_w: float
    limit_w: float
    power_w: float
    clock_before_hz: float
    clock_hz: float


def give(now_s: float, keeper: Keeper, decision: Decision, authority: Authority, lines: Lines) -> Iterator[Action]:
    """Grants for the nodes that can be reached and whose limit changes, or whose newest report has had no answer.

    While a fresh controller learns the grants in force, it gives none.
    """
    if decision.learning:
        return
    places = keeper.awaiting(now_s, decision)
    pending, said = _pending(now_s, keeper, decision, places), _Said(keeper, decision, authority, lines)
    changed = [_line(said, change) for change in pending if change.limit_w != change.before_w]
    changed += [_clock_line(said, change, authority, lines) for change in pending if change.clock_hz != change.clock_before_hz]
    if changed:
        yield WriteLedger(tuple(changed))
    keeper.grants(now_s, places, decision.limits_w[places], decision.clocks_hz[places])
    sealer = _Sealer(keeper, authority)
    for change in pending:
        yield _grant(change, sealer)


def _pending(now_s: float, keeper: Keeper, decision: Decision, places: Places) -> list[_Change]:
    before_w, clock_before_hz = keeper.standing_w(now_s), NodeRecord.clock_hz.of(keeper.rows)
    columns = (before_w, decision.limits_w, keeper.powers_w, clock_before_hz, decision.clocks_hz)
    nodes = [keeper.nodes[place] for place in places.tolist()]
    return list(map(_Change, places.tolist(), nodes, *(column[places].tolist() for column in columns)))


def _grant(change: _Change, sealer: "_Sealer") -> SendGrant:
    report, session = change.node.report, change.node.session
    assert report is not None and session is not None, "only a live node is granted anything"
    return SendGrant(session, sealer.sealed(change, report))


class _Sealer:
    """Grants of one decision. A message's bytes are those of its fields, one after another: what comes first is one message, filled in again for
    each node, what comes last is made once for each limit."""

    def __init__(self, keeper: Keeper, authority: Authority) -> None:
        self._first = Grant(
            version=GRANT_VERSION, epoch=authority.epoch, controller_id=authority.controller_id, lease_s=keeper.timing.lease_s
        )
        self._mode = keeper.mode
        self._last = dict[tuple[float, float, int], bytes]()

    def sealed(self, change: _Change, report: PowerReport) -> bytes:
        node, first = change.node, self._first
        first.node, first.sequence = node.name, node.sequence
        first.echo_limiter_start, first.echo_stamp_s = report.limiter_start, report.stamp_s
        each = change.limit_w / node.made.gpus, change.clock_hz, node.card_count
        if (last := self._last.get(each)) is None:
            last = self._last[each] = self._limits(*each)
        return seal(node.key, Way.DOWN, node.name, first.SerializeToString() + last)

    def _limits(self, limit_w: float, clock_hz: float, cards: int) -> bytes:
        return Grant(limits_w=[limit_w] * cards, mode=self._mode, clocks_hz=[clock_hz] * cards if clock_hz else ()).SerializeToString()


class _Said:
    """What ledger lines of one decision have in common."""

    def __init__(self, keeper: Keeper, decision: Decision, authority: Authority, lines: Lines) -> None:
        self.keeper, self.decision = keeper, decision
        self.shown = shown = cache(keeper.loads.shown)
        self.alike = cache(lambda verb, each_w, bound: _limited(verb, each_w, shown(bound), keeper.words(bound)))  # not of `self`: that were a cycle
        self.bound_by, self.apart = decision.bound_by.tolist(), keeper.apart().tolist()
        name = keeper.config.name
        own = (("limit before", "W"), ("limit", "W"), ("GPU power", "W"))
        shared = (
            (f"{name} draws at most", keeper.loads.drawn_w, "W"),
            (f"{name} worst case before", decision.counted_w, "W"),
            (f"{name} budget", keeper.budget_w, "W"),
        )
        self.lines = Alike(lines, authority.epoch, keeper.mode == MODE_AUTO, own, shared)
        self.held = (decision.unaccounted | (decision.braked_under != NOBODY) | (decision.crowded_under != NOBODY)).tolist()


def _line(said: _Said, change: _Change) -> bytes:
    node = change.node
    node.reason = _reason(said, change)
    kind = "floor" if change.limit_w <= node.exposure.floor_w else "cap"
    return said.lines.line(kind, node.name, node.reason, (change.before_w, change.limit_w, change.power_w))


def _clock_line(said: _Said, change: _Change, authority: Authority, lines: Lines) -> bytes:
    """0 MHz: not locked."""
    did = f"clocks locked to {change.clock_hz / 1e6:.0f} MHz" if change.clock_hz else "clocks unlocked"
    keeper = said.keeper
    bound = int(keeper.wishing.locked_by[change.place])
    change.node.clock_reason = f"{did}: {said.shown(bound)}, {keeper.words(bound)}"
    return lines.line(
        "clock", change.node.name, change.node.clock_reason, epoch=authority.epoch,
        performed=keeper.mode == MODE_AUTO,
        evidence=(
            ("clock before", change.clock_before_hz / 1e6, "MHz"),
            ("clock", change.clock_hz / 1e6, "MHz"),
            ("GPU power", change.power_w, "W"),
            (f"{keeper.config.name} draws at most", keeper.loads.drawn_w, "W"),
        ),
    )


def _reason(said: _Said, change: _Change) -> str:
    keeper, each_w, bound = said.keeper, change.limit_w / change.node.made.gpus, said.bound_by[change.place]
    if why_not := _why_not(said, change.place, bound):
        return f"to the floor of {each_w:.0f} W a GPU: {why_not}"
    verb = "capped" if change.limit_w < change.before_w else "raised"
    if change.limit_w >= change.node.exposure.default_w:
        budget_kw = keeper.budget_w / 1e3
        return f"{verb} to the driver's default of {each_w:.0f} W a GPU: {keeper.config.name} can carry it, budget {budget_kw:,.1f} kW"
    if said.apart[change.place]:
        return _limited(verb, each_w, said.shown(bound), keeper.why(change.place))
    return said.alike(verb, each_w, bound)


def _limited(verb: str, each_w: float, shown: str, why: str) -> str:
    return f"{verb} to {each_w:.0f} W a GPU: {shown}, {why}"


def _why_not(said: _Said, index: int, bound: int) -> str:
    """Why this node is at the floor; empty if it need not be."""
    if said.held[index]:
        return _held(said, index)
    return f"{said.shown(bound)} and may draw more than it carries until its leases have ended" if bound in said.decision.failing else ""


def _held(said: _Said, index: int) -> str:
    decision, tree = said.decision, said.keeper.tree
    if decision.unaccounted[index]:
        return "nobody vouches for this node: its limiter has confirmed no limit since it, its driver or we came up"
    if (braked := int(decision.braked_under[index])) != NOBODY:
        return f"the brake: {said.shown(braked)} by what is measured, with little left before it trips"
    crowd = int(decision.crowded_under[index])
    number, place = tree.places[crowd]
    return (
        f"nobody vouches for {decision.unaccounted[tree.under(crowd)].sum()} nodes of {tree.limit_names[crowd]}, "
        f"more than the {tree.levels[number].dead_counts[place]} that are always counted at the driver's default"
    )
