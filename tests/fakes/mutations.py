"""The product with one thing left out, for the checkers to find. Each is a small patch of the real code."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gpuwarden.agent.limiter import machine as limiter_machine
from gpuwarden.agent.limiter.events import Directive
from gpuwarden.agent.limiter.lease import Past, accept
from gpuwarden.agent.limiter.machine import Limiter
from gpuwarden.controller import requests
from gpuwarden.controller.power import allocator, exposure, keeper
from gpuwarden.controller.power.allocator import Grants, Situation
from gpuwarden.controller.power.columns import Numbers
from gpuwarden.controller.power.keeper import Keeper
from gpuwarden.controller.power.level import Places, Watts
from gpuwarden.controller.power.limit_heat import Found, LimitHeat
from gpuwarden.controller.power.loads import Loads
from gpuwarden.controller.power.topology import Branch, ReplacedLimit
from gpuwarden.controller.power.tree import Tree
from gpuwarden.controller.record import NodeRecord
from gpuwarden.core.seal import Way, unseal
from gpuwarden.proto.lease_pb2 import Grant, PowerReport


def grant_every_wish(patch: pytest.MonkeyPatch) -> None:
    """No allocator at all."""

    def wishes(tree: Tree, situation: Situation, wishes_w: Watts, bound_by: Places | None = None) -> Grants:
        return Grants(wishes_w, np.full(len(wishes_w), allocator.NOBODY), [])

    patch.setattr(keeper, "allocate", wishes)


def raise_before_cut(patch: pytest.MonkeyPatch) -> None:
    """What is outstanding is taken for gone as soon as the cut is decided."""
    lower = allocator._lower

    def only_steady(tree: Tree, situation: Situation, grants: Grants, low_w: Watts, steady: bool) -> list[int]:
        return lower(tree, situation, grants, low_w, steady) if steady else []

    patch.setattr(allocator, "_lower", only_steady)


def forget_old_leases(patch: pytest.MonkeyPatch) -> None:
    """Only the newest grant counts."""

    def forget(granted: Sequence[exposure.Exposure]) -> None:
        for one in granted:
            one.grants = []

    _look_after_each_grant(patch, forget)


def _look_after_each_grant(patch: pytest.MonkeyPatch, first: Callable[[Sequence[exposure.Exposure]], None]) -> None:
    grant = exposure.grant

    def looked_at(exposures: Sequence[exposure.Exposure], rows: Numbers, places: Places, *of: Any) -> None:
        first(exposures)
        rows[exposure.Exposure.look_s.place, places] = -math.inf
        grant(exposures, rows, places, *of)

    patch.setattr(keeper, "grant", looked_at)


def trust_stale_samples(patch: pytest.MonkeyPatch) -> None:
    """A node is at the limit, and draws what it drew, when it was last heard, however long ago that is."""
    heard_w, reported, found = dict[int, float](), exposure.Exposure.reported, exposure.Exposure.found

    def hear(self: exposure.Exposure, now_s: float, report: PowerReport, epoch: int) -> None:
        reported(self, now_s, report, epoch)
        heard_w[id(self)] = math.fsum(card.enforced_w for card in report.cards)

    def as_heard(self: exposure.Exposure, now_s: float) -> tuple[float, float, float]:
        limit_w, ends_s, look_s = found(self, now_s)
        return min(limit_w, heard_w.get(id(self), limit_w)), ends_s, look_s

    def last_heard_w(self: Keeper, now_s: float, live: "np.ndarray[tuple[int], np.dtype[np.bool_]]", counted_w: Watts, since_s: float | None) -> Watts:
        return np.where(np.isnan(self.powers_w), counted_w, self.powers_w)

    patch.setattr(exposure.Exposure, "reported", hear)
    patch.setattr(exposure.Exposure, "found", as_heard)
    _look_after_each_grant(patch, lambda granted: None)
    patch.setattr(Keeper, "_drawn_w", last_heard_w)


def ignore_dead_nodes(patch: pytest.MonkeyPatch) -> None:
    """Every node is taken for one that obeys."""
    patch.setattr(Branch, "dead_count", 0)


def ignore_settling(patch: pytest.MonkeyPatch) -> None:
    """A limit that was read back, or whose lease has ended, is taken for one that is obeyed."""

    class Settled(exposure.Exposure):
        def __init__(self, floor_w: float, default_w: float, settle_s: float, row: Numbers) -> None:
            super().__init__(floor_w, default_w, 0.0, row=row)

    ended_s = exposure.surely_ended_s
    patch.setattr(keeper, "Exposure", Settled)
    patch.setattr(Tree, "slowest_s", 0.0)
    patch.setattr(keeper, "surely_ended_s", lambda received_s, lease_s, settle_s: ended_s(received_s, lease_s, 0.0 * settle_s))


def lose_the_heat(patch: pytest.MonkeyPatch) -> None:
    """Whoever starts takes every breaker for cold."""

    def cold(tree: Tree, ratings_w: list[Watts], remembered: list[LimitHeat]) -> Found:
        return Found(*np.zeros((2, len(tree.limit_names))))

    patch.setattr(keeper, "found", cold)


def keep_no_heat_for_a_restart(patch: pytest.MonkeyPatch) -> None:
    """What is granted is what the heat of this moment carries, though who starts anew knows it less exactly."""
    question = allocator._question

    def now_only(*of: Any) -> Any:
        return replace(question(*of), spare=0.0)

    patch.setattr(allocator, "_question", now_only)


def forget_overshoots(patch: pytest.MonkeyPatch) -> None:
    """Heat is what readings show, and the overshoot of a raise is over before the next."""
    patch.setattr(Keeper, "_overshot_w", lambda self, now_s, drawn_w, counted_w: np.zeros(len(drawn_w)))


def renew_by_keep_alive(patch: pytest.MonkeyPatch) -> None:
    """Whatever comes from a controller renews the lease, refused or not."""
    hear = Limiter._hear

    def renewing(self: Limiter, now_s: float, event: object) -> list[object]:
        if isinstance(event, Directive) and self.lease is not None:
            self.lease = replace(self.lease, ends_s=now_s + self.lease.grant.lease_s)
        return hear(self, now_s, event)  # type: ignore[arg-type,return-value]  # passed on as it came

    patch.setattr(Limiter, "_hear", renewing)


def accept_late_grants(patch: pytest.MonkeyPatch) -> None:
    """A lease begins when its grant arrives."""

    def whenever(sealed: bytes, key: bytes, past: Past, now_s: float) -> Grant:
        grant = Grant.FromString(unseal(key, Way.DOWN, past.node, sealed))
        accepted = accept(sealed, key, past, min(now_s, grant.echo_stamp_s))
        accepted.lease_s += now_s - accepted.echo_stamp_s
        return accepted

    patch.setattr(limiter_machine, "accept", whenever)


def forget_raises_on_the_way(patch: pytest.MonkeyPatch) -> None:
    """A raise that has yet to arrive overshoots nothing."""
    follow = NodeRecord._follow_raise

    def soon_over(self: NodeRecord, now_s: float, report: PowerReport, requested_w: float, epoch: int) -> None:
        follow(self, now_s, report, requested_w, epoch)
        if self.overshoots_until_s == math.inf:
            self.overshoots_until_s = now_s

    patch.setattr(NodeRecord, "_follow_raise", soon_over)


def decide_anew_after_a_restart(patch: pytest.MonkeyPatch) -> None:
    """What was granted before a restart is changed at once."""
    patch.setattr(Keeper, "_resumed", lambda self, now_s: False)


def ignore_the_budget(patch: pytest.MonkeyPatch) -> None:
    """What an operator allows is noted, and decided by what was allowed before."""
    patch.setattr(Loads, "set_budget", lambda self, budget_w: None)


def leave_auto_unasked(patch: pytest.MonkeyPatch) -> None:
    """Nobody is told what may trip."""
    patch.setattr(requests, "_leaving", lambda keeper, mode: "")


def ignore_what_is_replaced(patch: pytest.MonkeyPatch) -> None:
    """After a contingency every limit is taken to carry what it usually does."""
    patch.setattr(ReplacedLimit, "instead_of", lambda self, limit: limit)
