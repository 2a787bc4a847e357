"""Raises that wait for each other: as many at once as may overshoot together, and in the end all."""

import numpy as np
from fakes.trees import flat, situation, two_feeds
from hypothesis import given
from hypothesis import strategies as st

from gpuwarden.controller.power.allocator import allocate
from gpuwarden.controller.power.staggering import staggered

ROW = flat(12, 84e3)  # every default is 1.25 times the rating
NOBODY = np.zeros(12, bool)


def test_all_at_once_would_not_be_raised_and_one_after_another_are() -> None:
    tree = ROW.tree()
    granted_w, wishes_w = np.full(12, 4800.0), tree.default_w
    stuck = allocate(tree, situation(tree, 84e3, granted_w=granted_w, counted_w=granted_w), wishes_w).limits_w
    assert stuck.max() < 5600.0, "their overshoot together is too much"
    for _ in range(10):
        wished_w = staggered(tree, [np.array([84e3])], granted_w, NOBODY, wishes_w, np.arange(12.0))
        granted_w = allocate(tree, situation(tree, 84e3, granted_w=granted_w, counted_w=granted_w), wished_w).limits_w
    assert (granted_w == 5600.0).all()


def test_who_comes_first_in_the_order_is_raised_first() -> None:
    tree = ROW.tree()
    wished_w = staggered(tree, [np.array([84e3])], np.full(12, 4800.0), NOBODY, tree.default_w, np.arange(12.0)[::-1])
    raised = np.flatnonzero(wished_w > 4800.0)
    assert 0 < len(raised) < 12 and raised.tolist() == list(range(12 - len(raised), 12))


def test_who_was_raised_within_the_last_second_takes_its_room() -> None:
    tree = ROW.tree()
    calm, busy = (
        staggered(tree, [np.array([84e3])], np.full(12, 4800.0), fresh, tree.default_w, np.arange(12.0)) for fresh in (NOBODY, np.arange(12) >= 8)
    )
    assert (busy > 4800.0).sum() < (calm > 4800.0).sum()


@given(
    st.lists(st.floats(1600.0, 5600.0), min_size=12, max_size=12), st.lists(st.floats(1600.0, 5600.0), min_size=12, max_size=12),
    st.permutations(range(12)),
)
def test_cuts_are_never_held_back_and_no_wish_grows(granted: list[float], wishes: list[float], order: list[int]) -> None:
    domain = two_feeds()
    tree, granted_w, wishes_w = domain.tree(), np.array(granted), np.array(wishes)
    at = situation(tree, domain.rating_w)
    wished_w = staggered(tree, at.ratings_w, granted_w, NOBODY, wishes_w, np.array(order, float))
    assert (wished_w <= wishes_w).all()
    assert (wished_w[wishes_w <= granted_w] == wishes_w[wishes_w <= granted_w]).all()
    assert (wished_w >= np.minimum(wishes_w, granted_w)).all()
