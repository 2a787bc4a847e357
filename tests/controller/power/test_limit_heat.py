"""Heat that outlives a controller: kept before grants leave, and never less than what may be true when it is read again."""

import math

import numpy as np
from fakes.trees import flat
from hypothesis import given
from hypothesis import strategies as st

from gpuwarden.controller.power.breaker import SPIKE_S
from gpuwarden.controller.power.level import Watts
from gpuwarden.controller.power.limit_heat import Granted, HeatKept, LimitHeat, found

LAPSE_S = 6.0
TREE = flat(12, 90e3).tree()
RATINGS_W = [np.array([90e3])]
TRIP_S = float(TREE.root.breakers.trip_heat[0])
loads = st.lists(st.tuples(st.floats(0.0, 1.0), st.floats(0.05, 2.0), st.booleans()), min_size=1, max_size=40)
ROUNDING_S = 1e-9


def granted(worst_w: Watts, for_ever_w: Watts, raised: bool = False) -> Granted:
    return Granted(worst_w, np.full(len(worst_w), float(raised)), for_ever_w, LAPSE_S)


def test_what_nobody_remembers_is_just_below_the_trip() -> None:
    begins = found(TREE, RATINGS_W, [])
    assert 0.99 * TRIP_S < begins.heat[0] == begins.lapsed_heat[0] < TRIP_S


def test_what_is_remembered_counts_for_the_same_rating_only() -> None:
    kept = LimitHeat("row", "row", 90e3, TRIP_S, 2.0, 3.0)
    begins, other = found(TREE, RATINGS_W, [kept]), found(TREE, [np.array([80e3])], [kept])
    assert (begins.heat[0], begins.lapsed_heat[0]) == (2.0, 3.0)
    assert other.heat[0] > 0.99 * TRIP_S


@given(loads)
def test_a_successor_never_begins_cooler_than_the_breaker_may_be(ways: list[tuple[float, float, bool]]) -> None:
    """Cards draw all they may, and overshoot where they were raised; the controller may die after any decision, and be away for any time."""
    kept, stored, heat = HeatKept("row", TREE), list[LimitHeat](), 0.0
    for share, seconds, raised in ways:
        worst_w = TREE.floor_w + share * 0.6 * (TREE.default_w - TREE.floor_w)
        stored = list(kept.changes(TREE, [np.array([heat])], RATINGS_W, granted(worst_w, TREE.floor_w, raised))) or stored
        begins, rate = found(TREE, RATINGS_W, stored), (TREE.total_w(worst_w) / 90e3) ** 2 - 1.0
        spike_w = 0.5 * TREE.members.gain.max() * worst_w.sum() * raised
        leaves = heat + max(0.0, ((TREE.total_w(worst_w) + spike_w) / 90e3) ** 2 - 1.0 - max(0.0, rate)) * SPIKE_S
        for away_s in (0.0, 0.5 * LAPSE_S, LAPSE_S):
            true = min(leaves + max(0.0, rate) * away_s, 0.999 * TRIP_S) - ROUNDING_S
            assert begins.now(np.array([rate]), away_s)[0] >= true
            assert begins.now(np.array([rate]), math.inf)[0] >= true
        heat = min(max(0.0, leaves + rate * seconds), 0.999 * TRIP_S)


def test_a_calm_row_writes_nothing_again_and_again() -> None:
    kept = HeatKept("row", TREE)
    written = [kept.changes(TREE, [np.zeros(1)], RATINGS_W, granted(TREE.floor_w, TREE.floor_w)) for _ in range(100)]
    assert [len(changes) for changes in written] == [1] + [0] * 99


def test_what_no_lease_ends_leaves_the_heat_unknown() -> None:
    """Outside auto, or under nodes that nobody vouches for: however long nobody looks."""
    kept = HeatKept("row", TREE)
    (heat,) = kept.changes(TREE, [np.zeros(1)], RATINGS_W, granted(TREE.floor_w, TREE.default_w))
    assert heat.lapsed_heat > 0.99 * TRIP_S > heat.heat
