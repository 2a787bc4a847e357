"""Locks come back soon, by half of the room at each step, the highest priority first, and not all rows at once."""

import numpy as np
from fakes.views import row_of, seen
from hypothesis import given
from hypothesis import strategies as st

from gpuwarden.controller.policies.dim import (
    BACK_SHARE,
    HOLD_S,
    LOWEST,
    LOWEST_LAST,
    WAIT_S,
    brighten,
    dim,
    placed,
)
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


@given(st.lists(st.floats(640.0, 3600.0), min_size=20, max_size=20), st.floats(LOWEST, 1.0), st.integers(0, 9))
def test_who_is_locked_gives_at_least_what_all_alike_would_and_without_the_last_of_them_less(power_w: list[float], low: float, seed: int) -> None:
    view, clocks, before = seen(DOMAIN, power_w, lockable=np.ones(20, bool)), np.where(HIGH, 1.0, low), np.ones(20)
    of_some, draws_w = placed(view, clocks, before, (seed,)), 1.155 * np.array(power_w)
    given_w, to_give_w = draws_w * (1.0 - of_some), (draws_w * (1.0 - clocks)).sum()
    assert set(of_some[~HIGH]) <= {LOWEST, 1.0} and (of_some[HIGH] == 1.0).all()
    assert to_give_w * (1.0 - 1e-6) <= given_w.sum() <= to_give_w + given_w.max()
    assert (placed(view, clocks, before, (seed,)) == of_some).all()


def test_who_waits_for_memory_is_locked_before_who_computes_and_who_is_locked_stays_so() -> None:
    power_w = np.where(np.arange(20) % 2 == 0, 2600.0, 5000.0)
    view, clocks = seen(DOMAIN, power_w, lockable=np.ones(20, bool)), np.where(HIGH, 1.0, 0.975)
    first = placed(view, clocks, np.ones(20), (1,))
    assert set(np.flatnonzero(first < 1.0) % 2) == {0}
    assert any((placed(view, clocks, np.ones(20), (other,)) != first).any() for other in range(2, 9)), "nobody is always the first"
    locked = seen(DOMAIN, power_w * first, lockable=np.ones(20, bool))
    assert all((placed(locked, clocks, first, (other,)) == first).all() for other in range(2, 9))
    begins = seen(DOMAIN, np.where(first < 1.0, 5000.0, power_w * first), lockable=np.ones(20, bool))
    assert (placed(begins, clocks, first, (1,))[first < 1.0] == 1.0).all(), "who begins to compute is let go"


def test_where_all_are_to_give_all_they_can_all_are_locked() -> None:
    clocks = np.where(HIGH, LOWEST_LAST, LOWEST)
    assert (placed(row(), clocks, np.ones(20), (1,)) == clocks).all()


def test_what_is_given_back_is_what_was_taken() -> None:
    view, whole = row(), np.ones(20)
    dimmed, left_w = dim(view, whole, np.array([3e3]), np.ones(20, bool))
    assert left_w[0] == 0.0 and (dimmed[~HIGH] < 1.0).all() and (dimmed[HIGH] == 1.0).all()
    locked = seen(DOMAIN, 4000.0 * dimmed, lockable=np.ones(20, bool))
    assert (back(locked, dimmed, 3e3 / BACK_SHARE + 1.0) == 1.0).all()
