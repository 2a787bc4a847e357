"""The allocator: whatever the wishes and the past, what it grants cannot trip the breaker."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gpuwarden.controller.power import heat as thermal
from gpuwarden.controller.power.allocator import Situation, allocate
from gpuwarden.controller.power.domain import DomainConfig, NodeClass
from gpuwarden.controller.power.row import Row, Watts, row_of

NODES = 12
LEASE_S = 6.0


def row() -> Row:
    return row_of(DomainConfig("row", 90e3, (NodeClass("h100", (f"n[1-{NODES}]",)),)))


def situation(line: Row, **changed: object) -> Situation:
    calm: dict[str, object] = {
        "budget_w": 90e3, "heat": 0.0, "counted_w": line.floor_w.copy(), "held_s": np.zeros(NODES),
        "granted_w": line.floor_w.copy(), "grantable": np.ones(NODES, bool), "fresh": np.zeros(NODES, bool),
        "may_raise": True, "lease_s": LEASE_S,
    }
    return Situation(**{**calm, **changed})  # type: ignore[arg-type]  # a test's keywords


def trips(line: Row, at: Situation, limits_w: Watts) -> bool:
    """The same question by brute force: all messages lost, 10 ms steps, worst draw of every node, overshoot included."""
    heat, worst_w = at.heat, np.maximum(at.counted_w, np.where(at.grantable, limits_w, 0.0))
    ends_s = np.where(at.grantable, np.maximum(at.held_s, at.lease_s), at.held_s)
    fresh = at.fresh | (at.grantable & (limits_w > at.granted_w))
    for step in range(int(10.0 / 0.01)):
        now_s = step * 0.01
        limit_w = np.where(now_s < ends_s, worst_w, line.floor_w)
        over = 1.5 if now_s < 0.25 else 1.1 if now_s < 1.0 else 1.0
        load_w = line.total_w(limit_w) + float(((over - 1.0) * line.gain * limit_w)[fresh].sum())
        heat = thermal.after(heat, load_w / at.budget_w, 0.01)
        if heat >= line.trip_heat or load_w > line.ceiling_ratio * at.budget_w * (1 + 1e-9):
            return True
    return False


limits = st.lists(st.floats(0.0, 1.0), min_size=NODES, max_size=NODES)
flags = st.lists(st.booleans(), min_size=NODES, max_size=NODES)


@settings(max_examples=60, deadline=None)
@given(wish=limits, granted=limits, grantable=flags, held=limits, share=st.floats(0.0, 0.999), may_raise=st.booleans())
def test_whatever_is_granted_does_not_trip_by_brute_force(
    wish: list[float], granted: list[float], grantable: list[bool], held: list[float], share: float, may_raise: bool
) -> None:
    line = row()
    span_w = line.default_w - line.floor_w
    granted_w = line.floor_w + np.array(granted) * span_w * 0.2
    at = situation(
        line, heat=share * line.trip_heat, granted_w=granted_w, counted_w=granted_w.copy(), held_s=np.array(held) * LEASE_S,
        grantable=np.array(grantable), may_raise=may_raise,
    )
    given_w = allocate(line, at, line.floor_w + np.array(wish) * span_w)
    assert ((given_w.limits_w >= line.floor_w) & (given_w.limits_w <= line.default_w)).all()
    before_safe = not trips(line, at, granted_w)
    assert not given_w.holds or not before_safe or not trips(line, at, given_w.limits_w)


def test_a_raise_waits_until_the_cut_that_pays_for_it_has_arrived() -> None:
    line = row()
    rich_w = np.where(np.arange(NODES) == 0, line.default_w, line.floor_w + 1200.0)
    wish_w = np.where(np.arange(NODES) == 1, line.default_w, line.floor_w)
    hot = situation(line, heat=0.9999 * line.trip_heat, budget_w=line.total_w(rich_w), granted_w=rich_w, counted_w=rich_w,
                    held_s=np.full(NODES, LEASE_S))
    first_w = allocate(line, hot, wish_w).limits_w
    assert first_w[0] < rich_w[0] and first_w[1] <= rich_w[1]


def test_without_a_majority_nothing_is_raised_but_cuts_still_leave() -> None:
    line = row()
    granted_w = line.floor_w + 400.0
    wish_w = np.where(np.arange(NODES) < 6, line.default_w, line.floor_w)
    given_w = allocate(line, situation(line, granted_w=granted_w, counted_w=granted_w, may_raise=False), wish_w).limits_w
    assert (given_w <= granted_w).all() and (given_w[6:] == line.floor_w[6:]).all()


def test_nodes_that_nobody_vouches_for_bring_the_rest_to_the_floor_when_they_do_not_fit() -> None:
    line = row()
    foreign = np.arange(NODES) < 9
    at = situation(line, grantable=~foreign, counted_w=np.where(foreign, line.default_w, line.floor_w),
                   held_s=np.where(foreign, math.inf, 0.0))
    given_w = allocate(line, at, line.default_w)
    assert not given_w.holds
    assert (given_w.limits_w == line.floor_w).all()


def test_limits_are_whole_steps_a_gpu() -> None:
    line = row()
    given_w = allocate(line, situation(line), line.default_w).limits_w
    assert np.allclose(given_w / (8 * 5.0), np.round(given_w / (8 * 5.0)))
    assert given_w.min() > line.floor_w.max()
