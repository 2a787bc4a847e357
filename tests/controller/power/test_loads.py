"""What limits carry and how warm they are, as a keeper measures it."""

import math

import numpy as np
import pytest
from fakes.trees import two_feeds

from gpuwarden.controller.power.limit_heat import Found, HeatKept
from gpuwarden.controller.power.loads import Loads, Unseen

DOMAIN = two_feeds()
TREE = DOMAIN.tree()


def cold() -> Loads:
    return begun(0.0, 0.0)


def begun(heat: float, lapsed_heat: float) -> Loads:
    count = len(TREE.limit_names)
    return Loads(TREE, DOMAIN.rating_w, Found(np.full(count, heat), np.full(count, lapsed_heat)), HeatKept("row", TREE))


def heat_of(loads: Loads, name: str) -> float:
    number, place = TREE.places[TREE.limit_names.index(name)]
    return float(loads.heats[number][place])


def test_a_limit_after_a_contingency_is_warmed_by_what_it_would_carry() -> None:
    loads = cold()
    loads.measure(0.0, TREE.default_w)
    loads.measure(1.0, TREE.default_w)
    ratio = (1300.0 - 900.0 + float(TREE.draws_w(TREE.default_w).sum())) / 80e3
    assert heat_of(loads, "b after a lost") == pytest.approx(ratio * ratio - 1.0)
    assert heat_of(loads, "b") == 0.0


def test_a_limit_after_a_contingency_is_never_cooler_than_as_things_are() -> None:
    loads = cold()
    number, place = TREE.places[TREE.limit_names.index("b")]
    loads.heats[number][place] = 0.5 * TREE.levels[number].breakers.trip_heat[place]
    loads.measure(0.0, TREE.floor_w)
    assert heat_of(loads, "b after b on battery") == 0.5, "half of what the battery has"


def test_a_new_budget_leaves_the_domains_own_heat_unknown() -> None:
    loads = cold()
    loads.set_budget(100e3)
    assert heat_of(loads, "row") > 10.9 and heat_of(loads, "a") == 0.0


def test_silent_nodes_that_may_be_dead_ones_warm_their_limits_by_the_drivers_default() -> None:
    """Else a node whose limiter died above its floor warms a breaker of which nobody knows."""
    silent, loads = np.arange(len(TREE.names)) < 2, [cold(), cold()]
    nearly_full_w = [0.99 * level.ratings_w - level.other_w - level.sums(level.draws_w(TREE.floor_w[level.nodes])) for level in TREE.levels]
    for one, who in zip(loads, (None, silent), strict=True):
        one.carry(nearly_full_w, TREE.members.gain)
        for now_s in (0.0, 1.0):
            one.measure(now_s, TREE.floor_w, unseen=None if who is None else Unseen(np.zeros(len(who)), who))
    assert heat_of(loads[0], "row") == 0.0
    ratio = 0.99 + float(TREE.members.gain[0] * (TREE.default_w - TREE.floor_w)[0] / TREE.root.ratings_w[0])
    assert heat_of(loads[1], "row") == pytest.approx(ratio * ratio - 1.0), "one dead node, of the two that say nothing"
    assert loads[0].drawn_w == loads[1].drawn_w, "what is shown is what is known"


def test_an_overshoot_that_no_reading_shows_warms_and_is_not_taken_for_a_load() -> None:
    loads, raised_w = cold(), np.where(np.arange(len(TREE.names)) < 4, 2800.0, 0.0)
    for now_s in (0.0, 1.0):
        loads.measure(now_s, TREE.default_w, unseen=Unseen(raised_w, np.zeros(len(raised_w), bool)))
    plain = cold()
    for now_s in (0.0, 1.0):
        plain.measure(now_s, TREE.default_w)
    assert heat_of(loads, "row") > 0.1 and heat_of(plain, "row") == 0.0
    assert loads.drawn_w == plain.drawn_w == loads.likely_w[-1][0]


@pytest.mark.parametrize(("since_s", "expected"), [(0.0, 0.1), (2.0, None), (30.0, 0.9), (math.inf, 0.9)])
def test_who_starts_anew_takes_a_limit_for_warmed_by_what_was_drawn_since_somebody_granted_and_no_more_than_leases_could(
    since_s: float, expected: float | None
) -> None:
    loads, nothing = begun(0.1, 0.9), np.zeros(len(TREE.names))
    for now_s in (0.0, 2.0):  # what is heard while nothing is granted says the same again, and warms nothing twice
        loads.measure(now_s, 1.2 * TREE.default_w, unseen=Unseen(nothing, nothing > 0, since_s))
    ratio = loads.drawn_w / DOMAIN.rating_w
    assert ratio > 1.0
    assert heat_of(loads, "row") == pytest.approx(0.1 + since_s * (ratio * ratio - 1.0) if expected is None else expected)


def test_what_was_found_is_forgotten_where_somebody_else_has_granted_and_for_another_budget() -> None:
    nothing = np.zeros(len(TREE.names))
    one, other = begun(0.1, 0.2), begun(0.1, 0.2)
    one.set_budget(200e3)
    other.forget_heat()
    for loads, warm in ((one, {"row"}), (other, set(TREE.limit_names))):
        loads.measure(0.0, TREE.floor_w, unseen=Unseen(nothing, nothing > 0, since_s=0.0))
        unknown = dict(zip(TREE.limit_names, TREE.whole.breakers.unknown.tolist(), strict=True))
        assert {name for name in warm if heat_of(loads, name) < 0.99 * unknown[name]} == set()
    assert heat_of(one, "a") == 0.1
