"""Locks come back soon, by half of the room at each step, the highest priority first, and not all rows at once."""

import numpy as np
from fakes.views import row_of, seen
from hypothesis import given
from hypothesis import strategies as st

from gpuwarden.controller.policies.dim import BACK_SHARE, HOLD_S, LOWEST, LOWEST_LAST, WAIT_S, brighten, dim
from gpuwarden.controller.policies.view import RowView
from gpuwarden.controller.power.level import Watts

RATING_W = 130e3
DOMAIN = row_of(("low", 10, "inference"), ("high", 10, "inference"), rating_w=RATING_W)
HIGH = np.arange(20) >= 10
DUE, NOTHING_DIMMED = np.array([-np.inf]), np.zeros(1, bool)


def row(power_w: float = 4000.0) -> RowView:
    return seen(DOMAIN, np.full(20, power_w), lockable=np.ones(20, bool))


def back(view: RowView, clocks: Watts, room_w: float) -> Watts:
    after, _ = brighten(view, 100.0, DUE, clocks, NOTHING_DIMMED, np.array([room_w]), (1,))
    return after


@given(st.floats(LOWEST, 1.0), st.floats(LOWEST_LAST, 1.0), st.floats(-5e3, 20e3))
def test_a_step_gives_back_half_of_the_room_at_most_and_nothing_where_there_is_none(low: float, high: float, room_w: float) -> None:
    view, clocks = row(), np.where(HIGH, high, low)
    after = back(view, clocks, room_w)
    risen_w = 1.155 * (4000.0 * (after / clocks - 1.0)).sum()
    assert (after >= clocks).all() and (after <= 1.0).all()
    assert risen_w <= BACK_SHARE * max(room_w, 0.0) + 1e-6


def test_the_highest_priority_is_served_first_and_its_nodes_alike() -> None:
    clocks = np.where(HIGH, LOWEST_LAST, LOWEST)
    after = back(row(), clocks, 2e3)
    assert (after[HIGH] > clocks[HIGH]).all() and np.ptp(after[HIGH]) == 0.0 and (after[~HIGH] == LOWEST).all()
    later = back(row(), np.where(HIGH, 1.0, LOWEST), 2e3)
    assert (later[~HIGH] > LOWEST).all() and np.ptp(later[~HIGH]) == 0.0


def test_what_was_just_dimmed_is_held_and_then_comes_back_at_random_times() -> None:
    view, clocks, room_w = row(), np.where(HIGH, 1.0, LOWEST), np.array([10e3])
    _, next_s = brighten(view, 50.0, DUE, clocks, np.ones(1, bool), np.zeros(1), (1,))
    held, next_s = brighten(view, 50.0 + HOLD_S - 0.1, next_s, clocks, NOTHING_DIMMED, room_w, (2,))
    assert (held == clocks).all()
    after, next_s = brighten(view, 50.0 + HOLD_S, next_s, clocks, NOTHING_DIMMED, room_w, (3,))
    assert (after[~HIGH] > LOWEST).all()
    assert WAIT_S[0] <= next_s[0] - (50.0 + HOLD_S) <= WAIT_S[1]
    _, another_s = brighten(view, 50.0 + HOLD_S, np.array([50.0 + HOLD_S]), clocks, NOTHING_DIMMED, room_w, (4,))
    assert another_s[0] != next_s[0]


def test_what_is_given_back_is_what_was_taken() -> None:
    view, whole = row(), np.ones(20)
    dimmed, left_w = dim(view, whole, np.array([3e3]), np.ones(20, bool))
    assert left_w[0] == 0.0 and (dimmed[~HIGH] < 1.0).all() and (dimmed[HIGH] == 1.0).all()
    locked = seen(DOMAIN, 4000.0 * dimmed, lockable=np.ones(20, bool))
    assert (back(locked, dimmed, 3e3 / BACK_SHARE + 1.0) == 1.0).all()
