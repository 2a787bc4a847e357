"""The allocator: whatever the wishes and the past, what it grants trips nothing, neither now nor after any listed contingency."""

import math
from dataclasses import replace

import numpy as np
import pytest
from fakes.trees import LEASE_S, bound_names, flat, situation, tripped, two_feeds
from hypothesis import given, settings
from hypothesis import strategies as st

from gpuwarden.controller.power.allocator import NOBODY, STEP_W, allocate
from gpuwarden.controller.power.domain import DomainConfig
from gpuwarden.controller.power.limit import LimitConfig
from gpuwarden.controller.power.limit_heat import Granted, HeatKept, found

NODES = 12
FLAT = flat(NODES, 90e3)
ROW = FLAT.tree()
FEEDS = two_feeds()

limits = st.lists(st.floats(0.0, 1.0), min_size=NODES, max_size=NODES)
flags = st.lists(st.booleans(), min_size=NODES, max_size=NODES)
unlike = st.sampled_from([FLAT, FEEDS, two_feeds(0.93), two_feeds(1.2)])


@settings(max_examples=120)
@given(domain=unlike, wish=limits, granted=limits, grantable=flags, held=limits, share=st.floats(0.0, 1.0), may_raise=flags)
def test_whatever_is_granted_trips_nothing_by_brute_force(
    domain: DomainConfig, wish: list[float], granted: list[float], grantable: list[bool], held: list[float], share: float, may_raise: list[bool]
) -> None:
    tree = domain.tree()
    span_w = tree.default_w - tree.floor_w
    granted_w = tree.floor_w + np.array(granted) * span_w * 0.2
    at = situation(
        tree, domain.rating_w, share, granted_w=granted_w, counted_w=granted_w.copy(), held_s=np.array(held) * LEASE_S,
        grantable=np.array(grantable), may_raise=np.array(may_raise),
    )
    given_ = allocate(tree, at, tree.floor_w + np.array(wish) * span_w)
    assert ((given_.limits_w >= tree.floor_w) & (given_.limits_w <= tree.default_w)).all()
    assert (given_.limits_w <= granted_w + 1e-9)[~at.may_raise].all()
    if not given_.failing and tripped(domain, tree, at, granted_w) is None:
        assert tripped(domain, tree, at, given_.limits_w) is None


@pytest.mark.parametrize("domain", [FLAT, FEEDS], ids=["flat", "two feeds"])
def test_not_a_fifth_more_would_hold(domain: DomainConfig) -> None:
    """What the brute force lets pass and the allocator does not is small: else safety would be bought with idle power."""
    tree = domain.tree()
    at = situation(tree, domain.rating_w)
    given_ = allocate(tree, at, tree.default_w)
    capped = given_.limits_w < tree.default_w
    assert capped.any()
    more_w = np.where(capped, np.minimum(given_.limits_w * 1.2, tree.default_w), given_.limits_w)
    assert tripped(domain, tree, at, more_w) is not None


def test_each_node_is_told_which_limit_binds_it() -> None:
    limits_ = (LimitConfig("narrow", 20e3, nodes=("n[1-4]",)), LimitConfig("wide", 60e3, nodes=("n[5-12]",)))
    domain = DomainConfig("row", 90e3, FLAT.classes, dead_nodes=0, limits=limits_)
    tree = domain.tree()
    given_ = allocate(tree, situation(tree, domain.rating_w), tree.default_w)
    assert bound_names(tree, given_.bound_by[:4]) == {"narrow"}
    assert bound_names(tree, given_.bound_by[4:]) <= {"wide", "row"}
    assert given_.limits_w[:4].max() < given_.limits_w[4:].min()


def test_a_feed_that_may_be_lost_leaves_room_on_the_other() -> None:
    without = DomainConfig("row", FEEDS.rating_w, FEEDS.classes, dead_nodes=1, limits=FEEDS.limits)
    lone, both = (
        allocate(domain.tree(), situation(domain.tree(), domain.rating_w), domain.tree().default_w) for domain in (without, FEEDS)
    )
    assert both.limits_w.sum() < 0.9 * lone.limits_w.sum()
    assert any("after" in name for name in bound_names(FEEDS.tree(), both.bound_by))


def test_a_rack_in_trouble_brings_only_itself_to_the_floor() -> None:
    limits_ = tuple(LimitConfig(f"r{rack}", 30e3, nodes=(f"n[{4 * rack + 1}-{4 * rack + 4}]",)) for rack in range(3))
    domain = DomainConfig("row", 90e3, FLAT.classes, dead_nodes=0, limits=limits_)
    tree = domain.tree()
    foreign = np.arange(NODES) < 3
    at = situation(tree, domain.rating_w, grantable=~foreign, counted_w=np.where(foreign, 2 * tree.default_w, tree.floor_w),
                   held_s=np.where(foreign, math.inf, 0.0))
    given_ = allocate(tree, at, tree.default_w)
    assert {tree.limit_names[number] for number in given_.failing} == {"r0"}
    assert given_.limits_w[3] == tree.floor_w[3] and given_.limits_w[4:].min() > tree.floor_w[4]


def test_a_raise_waits_until_the_cut_that_pays_for_it_has_arrived() -> None:
    rich_w = np.where(np.arange(NODES) == 0, ROW.default_w, ROW.floor_w + 1200.0)
    wish_w = np.where(np.arange(NODES) == 1, ROW.default_w, ROW.floor_w)
    hot = situation(ROW, ROW.total_w(rich_w), 0.9999, granted_w=rich_w, counted_w=rich_w, held_s=np.full(NODES, LEASE_S))
    first_w = allocate(ROW, hot, wish_w).limits_w
    assert first_w[0] < rich_w[0] and first_w[1] <= rich_w[1]


def test_without_a_majority_nothing_is_raised_but_cuts_still_leave() -> None:
    granted_w = ROW.floor_w + 400.0
    wish_w = np.where(np.arange(NODES) < 6, ROW.default_w, ROW.floor_w)
    at = situation(ROW, 90e3, granted_w=granted_w, counted_w=granted_w, may_raise=np.zeros(NODES, bool))
    given_w = allocate(ROW, at, wish_w).limits_w
    assert (given_w <= granted_w).all() and (given_w[6:] == ROW.floor_w[6:]).all()


def test_nodes_that_nobody_vouches_for_bring_the_rest_to_the_floor_when_they_do_not_fit() -> None:
    foreign = np.arange(NODES) < 9
    at = situation(ROW, 90e3, grantable=~foreign, counted_w=np.where(foreign, ROW.default_w, ROW.floor_w), held_s=np.where(foreign, math.inf, 0.0))
    given_ = allocate(ROW, at, ROW.default_w)
    assert given_.failing == [0]
    assert (given_.limits_w == ROW.floor_w).all()


def test_limits_are_whole_steps_a_gpu() -> None:
    given_ = allocate(ROW, situation(ROW, 90e3), ROW.default_w)
    assert np.allclose(given_.limits_w / (8 * 5.0), np.round(given_.limits_w / (8 * 5.0)))
    assert given_.limits_w.min() > ROW.floor_w.max() and (given_.bound_by != NOBODY).all()


@settings(max_examples=60)
@given(domain=unlike, wish=limits, granted=limits, share=st.floats(0.0, 1.0))
def test_who_starts_anew_and_knows_only_the_heat_that_is_durable_can_give_the_same_again(
    domain: DomainConfig, wish: list[float], granted: list[float], share: float
) -> None:
    tree = domain.tree()
    span_w = tree.default_w - tree.floor_w
    counted_w = tree.floor_w + np.floor(np.array(granted) * 20.0) * STEP_W * tree.gpus
    at = situation(tree, domain.rating_w, share, granted_w=counted_w, counted_w=counted_w, held_s=np.full(NODES, LEASE_S))
    given_w = allocate(tree, at, tree.floor_w + np.array(wish) * span_w).limits_w
    granted_ = Granted(np.maximum(counted_w, given_w), (given_w > counted_w).astype(float), tree.floor_w, LEASE_S)
    kept = HeatKept("row", tree).changes(tree, at.heats, at.ratings_w, granted_)
    begins = found(tree, at.ratings_w, kept)
    assert (begins.heat <= begins.lapsed_heat).all()
    again = replace(at, heats=tree.apart(begins.heat), counted_w=given_w, granted_w=given_w, resuming=True)
    assert (allocate(tree, again, given_w).limits_w == given_w).all()


def test_under_a_hard_limit_there_is_room_for_a_dead_node_that_comes_up_and_overshoots_its_default() -> None:
    domain = DomainConfig("row", 200e3, FLAT.classes, limits=(LimitConfig("hard", 45e3, kind="hard", nodes=("n[1-6]",)),))
    level = domain.tree().levels[0]
    fits_w = (45e3 - 6 * 2300.0 - 1.155 * 1.5 * 5600.0) / 5 / 1.155
    for limit_w, holds in ((fits_w - 1.0, True), (fits_w + 1.0, False)):
        at_w = np.full(6, limit_w)
        assert level.carries(level.ratings_w, np.zeros(1), at_w, np.full(6, LEASE_S), np.zeros(6, bool)).tolist() == [holds]
    floors_w = 5 * (2300.0 + 1.155 * 1600.0) + 2300.0 + 1.155 * 1.5 * 5600.0
    assert level.least_w(level.members.floor_w).tolist() == pytest.approx([floors_w])
