"""Nodes that no limiter answers for, held by their BMCs: a limit for the whole node, and power off where that cannot be had.

It is for two cases of a domain in auto: more nodes than are counted as dead have no limiter that vouches for them, or a driver hangs whose
grant must be lowered. What is done counts in no sum: a BMC's word is not a limiter's. It only makes the worst less likely than it counts.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from gpuwarden.controller.events import Action, OutOfBand, OutOfBandDone, WriteLedger
from gpuwarden.controller.lines import Lines
from gpuwarden.controller.out_of_band_config import OutOfBandConfig
from gpuwarden.controller.power.allocator import NOBODY
from gpuwarden.controller.power.hostlist import expand
from gpuwarden.controller.power.keeper import Keeper
from gpuwarden.proto.lease_pb2 import Mode

LOOK_S: Final = 1.0
HOLD_S: Final = 10.0  # it must be so for this long: longer than a lease, and than a limiter takes to start again
RETRY_S: Final = 60.0
TRIES: Final = 3
LOST_S: Final = 120.0
OFF_EVERY_S: Final = 60.0  # of a domain's nodes one at a time
LIFT_AFTER_S: Final = 60.0


@dataclass(slots=True)
class _Held:
    """One node for which there is a reason now, or was one."""

    since_s: float
    needed_s: float
    ordered_s: float = -math.inf
    under_way: str = ""
    failed: int = 0
    state: str = ""  # "limit" or "off", once it is done
    written: frozenset[str] = frozenset()  # of what was not done, so that it is written once


class OutOfBandOrders:
    """Decides; every order has a ledger line before it, and one with its outcome after it. One order of a node at a time."""

    def __init__(self, config: OutOfBandConfig | None, keepers: Sequence[Keeper], lines: Lines) -> None:
        self._config, self._keepers, self._lines = config, keepers, lines
        reached = set(expand(config.nodes)) if config is not None else set()
        self._reached = {node.name for keeper in keepers for node in keeper.nodes if node.name in reached or not reached}
        self._held: dict[str, _Held] = {}
        self._looked_s = -math.inf
        self._off_s = dict.fromkeys((keeper.config.name for keeper in keepers), -math.inf)

    def tick(self, now_s: float) -> Iterator[Action]:
        if self._config is None or now_s - self._looked_s < LOOK_S:
            return
        self._looked_s = now_s
        for keeper in self._keepers:
            needing = _needing(keeper)
            for index, why in needing.items():
                node = keeper.nodes[index].name
                if node in self._reached:
                    held = self._held.setdefault(node, _Held(now_s, now_s))
                    held.needed_s = now_s
                    _forget_lost(now_s, held)
                    yield from self._hold(now_s, keeper, index, held, why)
            yield from self._release(now_s, keeper)

    def done(self, event: OutOfBandDone) -> list[Action]:
        """What came of an order."""
        held = self._held.get(event.node)
        if held is None or held.under_way != event.kind:
            return []
        held.under_way = ""
        if event.ok and event.kind == "lift":
            del self._held[event.node]
        elif event.ok:
            held.state, held.failed = event.kind, 0
        else:
            held.failed += 1
        said = f"out of band, {event.kind}: {'done' if event.ok else 'failed'}: {event.said}"
        return [WriteLedger((self._lines.line(f"bmc-{event.kind}", event.node, said, performed=event.ok),))]

    def _hold(self, now_s: float, keeper: Keeper, index: int, held: _Held, why: str) -> Iterator[Action]:
        assert self._config is not None
        kind, mode = ("limit", self._config.mode) if held.failed < TRIES else ("off", self._config.power_off_mode)
        waits = now_s - held.since_s < HOLD_S or now_s - held.ordered_s < RETRY_S
        if waits or held.state or held.under_way or (mode != "auto" and kind in held.written):
            return
        if kind == "limit":
            made = keeper.nodes[index].made
            limit_w = math.ceil(made.draw_w(made.gpus * made.floor_w))
            yield from self._order(now_s, keeper.nodes[index].name, held, kind, limit_w, mode, f"limit the node to {limit_w:,} W: {why}")
        elif (failing := _failing_above(keeper, index)) and now_s - self._off_s[keeper.config.name] >= OFF_EVERY_S:
            self._off_s[keeper.config.name] = now_s
            why = f"power it off: {why}; no limit could be set in {held.failed} tries, and {failing} may draw more than it carries"
            yield from self._order(now_s, keeper.nodes[index].name, held, kind, 0.0, mode, why)

    def _release(self, now_s: float, keeper: Keeper) -> Iterator[Action]:
        """A limit that is no longer needed is lifted; who switched a node off leaves it to people to switch it on."""
        for node in keeper.nodes:
            held = self._held.get(node.name)
            if held is not None:
                _forget_lost(now_s, held)
            if held is None or held.under_way or now_s - held.needed_s < LIFT_AFTER_S:
                continue
            if held.state != "limit":
                del self._held[node.name]
            elif now_s - held.ordered_s >= RETRY_S:
                yield from self._order(now_s, node.name, held, "lift", 0.0, "auto", "lift the node's limit: its limiter answers for it again")

    def _order(self, now_s: float, node: str, held: _Held, kind: str, limit_w: float, mode: str, why: str) -> Iterator[Action]:
        acts = mode == "auto"
        held.written |= {kind}
        yield WriteLedger((self._lines.line(f"bmc-{kind}", node, f"out of band: {why}", performed=acts),))
        if acts:
            held.ordered_s, held.under_way = now_s, kind
            yield OutOfBand(node, kind, limit_w)


def _forget_lost(now_s: float, held: _Held) -> None:
    """An order whose outcome has not come will not come any more: the inbox had no room for it."""
    if held.under_way and now_s - held.ordered_s > LOST_S:
        held.under_way, held.failed = "", held.failed + 1


def _needing(keeper: Keeper) -> Mapping[int, str]:
    """Why, of each node that a BMC should hold."""
    decision = keeper.decision
    if decision is None or decision.learning or keeper.mode != Mode.MODE_AUTO:
        return {}
    tree, needing = keeper.tree, dict[int, str]()
    for index in np.flatnonzero(decision.unaccounted & (decision.crowded_under != NOBODY)).tolist():
        needing[index] = f"nobody vouches for it, and for more nodes of {tree.limit_names[decision.crowded_under[index]]} than are counted as dead"
    stuck = np.fromiter((node.exposure.stuck for node in keeper.nodes), bool, len(keeper.nodes))
    lower = decision.limits_w < decision.counted_limits_w
    for index in np.flatnonzero(stuck & lower & ~decision.unaccounted).tolist():
        needing[index] = "its driver hangs, and its grant should be lowered"
    return needing


def _failing_above(keeper: Keeper, index: int) -> str:
    """The first limit above the node that may draw more than it carries; '' if all hold."""
    assert keeper.decision is not None, "asked of a node that needs it"
    above = (limit for limit in keeper.decision.failing if index in keeper.tree.under(limit))
    return next((keeper.tree.limit_names[limit] for limit in above), "")
