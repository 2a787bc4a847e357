"""Foreign load flows up the tree, and through other feeds once its own is lost; what is granted beside it trips nothing."""

from dataclasses import replace

import numpy as np
import pytest
from fakes.trees import situation, tripped, two_feeds
from hypothesis import given, settings
from hypothesis import strategies as st

from gpuwarden.controller.power.allocator import allocate
from gpuwarden.controller.power.domain import DomainConfig
from gpuwarden.controller.power.foreign import Foreign

FEEDS = two_feeds()
TREE = FEEDS.tree()
METERED = ("a", "b", "a0", "a1", "b2", "row")


def carried(found_w: dict[str, float]) -> dict[str, float]:
    made = Foreign(FEEDS.topology(), TREE).carried_w(found_w)
    return dict(zip(TREE.limit_names, np.concatenate(made).tolist(), strict=True))


def test_what_a_rack_shows_goes_through_the_limits_above_it_too() -> None:
    carried_w = carried({"a0": 3e3, "a1": 2e3})
    assert (carried_w["a0"], carried_w["a1"], carried_w["a"], carried_w["row"]) == (3e3, 2e3, 5e3, 5e3)
    assert carried_w["b"] == carried_w["a2"] == carried_w["b0"] == 0.0


@pytest.mark.parametrize(("feed_w", "counts_w"), [(1e3, 3e3), (4e3, 4e3)])
def test_of_a_feeds_own_meter_and_those_below_it_the_larger_counts(feed_w: float, counts_w: float) -> None:
    assert carried({"a0": 3e3, "a": feed_w})["a"] == counts_w


def test_of_what_hung_on_a_lost_feed_nobody_knows_where_it_goes() -> None:
    carried_w = carried({"a0": 3e3, "b": 1e3})
    assert carried_w["b"] == 1e3 and carried_w["b after a lost"] == 4e3
    assert carried_w["b2 after a lost"] == 3e3, "any of them may be its other feed"
    assert carried_w["b after b on battery"] == 1e3


def truly_carrying(found_w: dict[str, float], moved: bool) -> DomainConfig:
    """The same domain, with the foreign load declared. `moved`: what hangs on feed a and its racks has its other supply on b, and draws as much there once a is lost."""
    a_w = max(found_w["a"], found_w["a0"] + found_w["a1"])
    own_w = {"a0": found_w["a0"], "a1": found_w["a1"], "a": a_w - found_w["a0"] - found_w["a1"], "b": found_w["b"]}
    if moved:
        own_w = {"b": found_w["b"] + a_w}
    return replace(FEEDS, limits=tuple(replace(limit, base_w=limit.base_w + own_w.get(limit.name, 0.0)) for limit in FEEDS.limits))


loads = st.fixed_dictionaries({name: st.floats(0.0, 2e3) for name in ("a", "b", "a0", "a1")})


@settings(max_examples=60)
@given(found_w=loads, wish=st.lists(st.floats(0.0, 1.0), min_size=12, max_size=12))
def test_what_is_granted_beside_foreign_load_trips_nothing_by_brute_force(found_w: dict[str, float], wish: list[float]) -> None:
    """Also where all of it moves to the other feed; then it is not there before, so only limits after the loss are asked."""
    tree = TREE.carrying(Foreign(FEEDS.topology(), TREE).carried_w(found_w))
    at = situation(tree, FEEDS.rating_w)
    given_ = allocate(tree, at, tree.floor_w + np.array(wish) * (tree.default_w - tree.floor_w))
    assert not given_.failing
    assert tripped(truly_carrying(found_w, moved=False), tree, at, given_.limits_w) is None
    first = tripped(truly_carrying(found_w, moved=True), tree, at, given_.limits_w)
    assert first is None or " after a lost" not in first


def test_without_it_the_same_grants_trip() -> None:
    """So that the one above can fail."""
    found_w = dict.fromkeys(("a", "b", "a0", "a1"), 9e3)
    at = situation(TREE, FEEDS.rating_w)
    assert tripped(truly_carrying(found_w, moved=True), TREE, at, allocate(TREE, at, TREE.default_w).limits_w) == "b after a lost"
