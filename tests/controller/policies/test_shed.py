"""Who gives how much: enough, the lowest priority first, never below floors."""

import numpy as np
from fakes.views import row_of, seen
from hypothesis import given
from hypothesis import strategies as st

from gpuwarden.controller.policies.shed import fitted, pending_w, shed

NAMES = ("spot", "batch", "chat")
DOMAIN = row_of(("spot", 3, "inference"), ("batch", 3, "inference"), ("chat", 4, "inference"), rating_w=200e3, names=NAMES)
TREE = DOMAIN.tree()
powers = st.lists(st.floats(600.0, 5600.0) | st.just(float("nan")), min_size=10, max_size=10)
EVERYBODY = np.ones(10, bool)


def given_w(power: list[float], caps_w: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """By how much each node's draw falls."""
    return np.nan_to_num(TREE.members.gain * np.maximum(np.array(power) - caps_w, 0.0))


@given(powers, st.floats(0.0, 60e3))
def test_enough_is_given_or_all_that_there_is(power: list[float], cut_w: float) -> None:
    caps_w = shed(seen(DOMAIN, power), np.array(power), np.array([cut_w]), EVERYBODY)
    assert (caps_w >= TREE.floor_w).all()
    most_w = given_w(power, TREE.floor_w).sum()
    assert given_w(power, caps_w).sum() >= min(cut_w, most_w) * (1 - 1e-9)
    assert given_w(power, caps_w).sum() <= cut_w + 10 * TREE.members.gain[0] * 5600 / 4096, "nor more than a step a node too much"


@given(powers, st.floats(1.0, 60e3))
def test_a_priority_gives_only_once_those_below_it_have_given_all(power: list[float], cut_w: float) -> None:
    caps_w = shed(seen(DOMAIN, power), np.array(power), np.array([cut_w]), EVERYBODY)
    given = given_w(power, caps_w) > 0
    at_floor = np.isnan(power) | (np.array(power) <= TREE.floor_w) | (caps_w <= TREE.floor_w)
    for lower, higher in ((slice(0, 3), slice(3, 6)), (slice(3, 6), slice(6, 10))):
        assert at_floor[lower].all() or not given[higher].any()


def test_in_a_priority_those_who_draw_most_give_and_come_down_to_one_level() -> None:
    power = np.array([3000.0, 4000.0, 5000.0, *[5600.0] * 7])
    caps_w = shed(seen(DOMAIN, power), power, np.array([1.155 * 1400.0]), EVERYBODY)
    assert np.allclose(caps_w[:3], 3800.0, atol=2.0), "200 and 1,200 W"
    assert np.isinf(caps_w[3:]).all()


def test_who_may_not_give_is_left_alone() -> None:
    caps_w = shed(seen(DOMAIN, np.full(10, 5000.0)), np.full(10, 5000.0), np.array([50e3]), np.arange(10) >= 6)
    assert np.isinf(caps_w[:6]).all() and np.isfinite(caps_w[6:]).all()


@given(st.lists(st.floats(1600.0, 5600.0), min_size=10, max_size=10), st.floats(50e3, 90e3))
def test_limits_are_fitted_dead_nodes_included(limits: list[float], most_w: float) -> None:
    limits_w = fitted(seen(DOMAIN, np.full(10, 3e3)), np.array(limits), np.array([most_w]))
    assert (limits_w <= np.array(limits)).all() and (limits_w >= TREE.floor_w).all()
    assert TREE.total_w(limits_w) <= most_w * 1.002 or np.allclose(limits_w, TREE.floor_w)


def test_a_cut_under_way_counts_until_it_should_have_come() -> None:
    view = seen(DOMAIN, np.full(10, 4000.0))
    caps_w = np.where(np.arange(10) < 3, 3000.0, np.inf)
    assert np.isclose(pending_w(view, caps_w, np.array([1.9]))[0], 3 * 1.155 * 1000.0)
    assert pending_w(view, caps_w, np.array([2.1]))[0] == 0.0, "cards that do not obey are counted as they draw"
