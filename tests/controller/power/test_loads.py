"""What limits carry and how warm they are, as a keeper measures it."""

import numpy as np
import pytest
from fakes.trees import two_feeds

from gpuwarden.controller.power.limit_heat import HeatKept
from gpuwarden.controller.power.loads import Loads, Unseen

DOMAIN = two_feeds()
TREE = DOMAIN.tree()


def cold() -> Loads:
    return Loads(TREE, DOMAIN.rating_w, [np.zeros(len(level.names)) for level in TREE.levels], HeatKept("row", TREE))


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
            one.measure(now_s, TREE.floor_w, unseen=None if who is None else Unseen(np.zeros(len(who)), who, bounded=False))
    assert heat_of(loads[0], "row") == 0.0
    ratio = 0.99 + float(TREE.members.gain[0] * (TREE.default_w - TREE.floor_w)[0] / TREE.root.ratings_w[0])
    assert heat_of(loads[1], "row") == pytest.approx(ratio * ratio - 1.0), "one dead node, of the two that say nothing"
    assert loads[0].drawn_w == loads[1].drawn_w, "what is shown is what is known"


def test_an_overshoot_that_no_reading_shows_warms_and_is_not_taken_for_a_load() -> None:
    loads, raised_w = cold(), np.where(np.arange(len(TREE.names)) < 4, 2800.0, 0.0)
    for now_s in (0.0, 1.0):
        loads.measure(now_s, TREE.default_w, unseen=Unseen(raised_w, np.zeros(len(raised_w), bool), bounded=False))
    plain = cold()
    for now_s in (0.0, 1.0):
        plain.measure(now_s, TREE.default_w)
    assert heat_of(loads, "row") > 0.1 and heat_of(plain, "row") == 0.0
    assert loads.drawn_w == plain.drawn_w == loads.likely_w[-1][0]


def test_as_long_as_nothing_has_been_granted_no_limit_is_warmer_than_what_was_remembered_of_it() -> None:
    loads, nothing = cold(), np.zeros(len(TREE.names))
    for now_s in (0.0, 2.0):
        loads.measure(now_s, TREE.default_w, unseen=Unseen(nothing, nothing > 0, bounded=True))
    assert all((heats == 0.0).all() for heats in loads.heats)
