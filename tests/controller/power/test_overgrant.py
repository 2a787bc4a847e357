"""The table that a power engineer checks by hand."""

import pytest
from fakes.trees import flat, two_feeds

from gpuwarden.controller.power.overgrant import overgrants


def test_a_flat_row_by_hand() -> None:
    (row,) = overgrants(flat(12, 82e3), 6.0)
    floor_w, default_w = 2300 + 1.155 * 1600, 2300 + 1.155 * 5600
    assert row.floors_w == pytest.approx(11 * floor_w + default_w)
    assert row.defaults_w == pytest.approx(12 * default_w)
    assert row.grants_w == row.defaults_w, "1.28 times the rating for 7 s, and 1.1, spends 5.6 of 11 s"
    assert row.why == "carries every default"


def test_the_trip_curve_bounds_what_grants_may_add_up_to_and_the_sum_is_shown() -> None:
    (row,) = overgrants(flat(12, 80e3), 30.0)
    ratio = row.grants_w / row.rating_w
    assert (ratio * ratio - 1.0) * 31.0 + 1.1 == pytest.approx(11.0, rel=0.01)
    assert row.why == f"({ratio:.3f}^2 - 1) x 31 s + 1.1 = 11.0 of 11.0 s"


def test_every_limit_is_told_in_every_case_the_domain_first() -> None:
    domain = two_feeds()
    told = list(overgrants(domain, 6.0))
    assert [one.limit for one in told] == [branch.name for branch in reversed(domain.topology().branches())]
    assert told[0].limit == "row"
