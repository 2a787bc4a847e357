"""Giving back: never more than there is room for, one at least, training nodes all alike."""

import numpy as np
from fakes.views import row_of, seen
from hypothesis import given
from hypothesis import strategies as st

from gpuwarden.controller.policies.restore import CAP_STEP, STEP_RATIO, begin, step
from gpuwarden.controller.policies.view import RowView
from gpuwarden.controller.power.level import Watts

RATING_W = 130e3
SERVES = row_of(("low", 10, "inference"), ("high", 10, "inference"), rating_w=RATING_W)
TRAINS = row_of(("low", 10, "inference"), ("high", 10, "training"), rating_w=RATING_W)
HIGH = np.arange(20) >= 10
NOTHING_LOWERED = np.zeros(1, bool)


def given_back(view: RowView, caps_w: Watts, room_w: float, chance: int = 1) -> Watts:
    """By how much each cap rises in a step that is due; one that goes counts as at the default."""
    after_w, _ = step(begin(1), 100.0, view, caps_w, NOTHING_LOWERED, np.array([room_w]), (chance,))
    return np.minimum(after_w, 5600.0) - np.minimum(caps_w, 5600.0)


@given(st.lists(st.floats(1600.0, 5600.0), min_size=20, max_size=20), st.floats(-5e3, 20e3), st.integers(0, 9))
def test_a_step_gives_back_no_more_than_there_is_room_for(caps: list[float], room_w: float, chance: int) -> None:
    for domain in (SERVES, TRAINS):
        back_w = given_back(seen(domain, np.full(20, 1600.0)), np.array(caps), room_w, chance)
        assert (back_w >= 0).all()
        assert 1.155 * back_w.sum() <= max(room_w, 0.0) + 1e-6
        assert 1.155 * back_w.sum() <= max(STEP_RATIO * RATING_W, 1.155 * CAP_STEP * 5600.0) + 1e-6


def test_the_highest_priority_is_served_first_by_nodes_at_random() -> None:
    view, caps_w = seen(SERVES, np.full(20, 1600.0)), np.full(20, 3000.0)
    backs = [given_back(view, caps_w, 20e3, chance) for chance in range(5)]
    assert all(back[HIGH].any() and not back[~HIGH].any() for back in backs)
    assert len({tuple(np.flatnonzero(back)) for back in backs}) > 1


def test_one_node_is_raised_though_a_step_is_less_than_a_nodes_part() -> None:
    small = row_of(("", 4, "inference"), rating_w=26e3)
    assert np.count_nonzero(given_back(seen(small, np.full(4, 1600.0)), np.full(4, 3000.0), 10e3)) == 1


def test_training_nodes_are_raised_all_at_once_and_alike() -> None:
    back_w = given_back(seen(TRAINS, np.full(20, 1600.0)), np.full(20, 3000.0), 20e3)
    assert np.ptp(back_w[HIGH]) < 1e-9 and np.isclose(1.155 * back_w[HIGH].sum(), STEP_RATIO * RATING_W)


def test_a_cut_holds_and_one_soon_after_giving_back_holds_twice_as_long() -> None:
    view, caps_w, waits = seen(SERVES, np.full(20, 1600.0)), np.full(20, 3000.0), begin(1)
    lowered, room_w = np.ones(1, bool), np.array([20e3])
    _, waits = step(waits, 0.0, view, caps_w, lowered, room_w, (1,))
    held_w, waits = step(waits, 29.9, view, caps_w, NOTHING_LOWERED, room_w, (2,))
    assert (held_w == caps_w).all()
    back_w, waits = step(waits, 30.0, view, caps_w, NOTHING_LOWERED, room_w, (3,))
    assert (back_w > caps_w).any()
    _, waits = step(waits, 40.0, view, caps_w, lowered, room_w, (4,))
    assert waits.next_s[0] == 100.0
    _, waits = step(waits, 50.0, view, caps_w, lowered, room_w, (5,))
    assert waits.next_s[0] == 110.0, "nothing was given back in between"
