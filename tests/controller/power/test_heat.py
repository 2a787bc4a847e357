"""The breaker's thermal model against its closed form."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuwarden.controller.power import heat


def test_at_twice_the_rating_a_hot_k_of_eleven_lasts_eleven_thirds_of_a_second() -> None:
    assert heat.after(0.0, 2.0, 11 / 3) == pytest.approx(11.0)


def test_below_the_rating_it_cools_but_never_below_zero() -> None:
    assert heat.after(1.0, 0.5, 1.0) == pytest.approx(0.25)
    assert heat.after(1.0, 0.5, 100.0) == 0.0


@given(st.floats(0, 20), st.lists(st.tuples(st.floats(0, 1.4), st.floats(0, 30)), max_size=6))
def test_the_peak_is_never_below_any_point_of_the_way(start: float, phases: list[tuple[float, float]]) -> None:
    peak, now = heat.peak(start, phases), start
    for load_ratio, seconds in phases:
        now = heat.after(now, load_ratio, seconds)
        assert now <= peak + 1e-9
