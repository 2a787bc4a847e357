"""Heat that outlives a controller: kept before grants leave, and never less than what may be true when it is read again."""

import numpy as np
from fakes.trees import flat
from hypothesis import given
from hypothesis import strategies as st

from gpuwarden.controller.power.limit_heat import HeatKept, LimitHeat, begin

LAPSE_S = 6.0
TREE = flat(12, 90e3).tree()
RATINGS_W = [np.array([90e3])]
TRIP_S = float(TREE.root.breakers.trip_heat[0])
loads = st.lists(st.tuples(st.floats(0.0, 1.0), st.floats(0.05, 2.0)), min_size=1, max_size=40)


def test_what_nobody_remembers_is_just_below_the_trip() -> None:
    (heat,) = begin(TREE, RATINGS_W, [])
    assert 0.99 * TRIP_S < heat[0] < TRIP_S


def test_what_is_remembered_counts_for_the_same_rating_only() -> None:
    kept = LimitHeat("row", "row", 90e3, TRIP_S, 2.0)
    assert begin(TREE, RATINGS_W, [kept])[0][0] == 2.0
    assert begin(TREE, [np.array([80e3])], [kept])[0][0] > 0.99 * TRIP_S


@given(loads)
def test_a_successor_never_begins_cooler_than_the_breaker_may_be(ways: list[tuple[float, float]]) -> None:
    """The load is any from nothing to the worst of the grants; the controller may die after any decision, its leases lapse, and nobody look for long."""
    kept, stored, heat = HeatKept("row", TREE), list[LimitHeat](), 0.0
    for granted, seconds in ways:
        worst_w = TREE.floor_w + granted * 0.6 * (TREE.default_w - TREE.floor_w)
        changes = kept.changes(TREE, [np.array([heat])], RATINGS_W, worst_w, TREE.floor_w, LAPSE_S)
        stored = list(changes) or stored
        worst_ratio = TREE.total_w(worst_w) / 90e3
        lapsed = max(0.0, heat + max(0.0, worst_ratio**2 - 1.0) * LAPSE_S)
        assert begin(TREE, RATINGS_W, stored)[0][0] >= min(lapsed, 0.999 * TRIP_S) - 1e-9
        heat = min(max(0.0, heat + (worst_ratio**2 - 1.0) * seconds), 0.999 * TRIP_S)


def test_a_calm_row_writes_nothing_again_and_again() -> None:
    kept = HeatKept("row", TREE)
    written = [kept.changes(TREE, [np.zeros(1)], RATINGS_W, TREE.floor_w, TREE.floor_w, LAPSE_S) for _ in range(100)]
    assert [len(changes) for changes in written] == [1] + [0] * 99


def test_what_no_lease_ends_leaves_the_heat_unknown() -> None:
    """Outside auto, or under nodes that nobody vouches for: however long nobody looks."""
    kept = HeatKept("row", TREE)
    (heat,) = kept.changes(TREE, [np.zeros(1)], RATINGS_W, TREE.floor_w, TREE.default_w, LAPSE_S)
    assert heat.heat > 0.99 * TRIP_S
