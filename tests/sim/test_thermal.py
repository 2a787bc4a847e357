"""The breaker's thermal model against its closed form."""

import pytest

from gpuwarden.sim import thermal


def test_at_twice_the_rating_a_hot_k_of_eleven_lasts_eleven_thirds_of_a_second() -> None:
    assert thermal.after(0.0, 2.0, 11 / 3) == pytest.approx(11.0)


def test_below_the_rating_it_cools_but_never_below_zero() -> None:
    assert thermal.after(1.0, 0.5, 1.0) == pytest.approx(0.25)
    assert thermal.after(1.0, 0.5, 100.0) == 0.0
