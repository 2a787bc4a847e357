"""What was seen to rise within the lag, and for how long that counts."""

import numpy as np

from gpuwarden.controller.policies.rises import PRIOR_RATIO, Rises, begin

RATINGS_W = np.array([100e3])
FREE = np.array([True])


def looked(loads_w: list[float], rises: Rises | None = None, first_s: float = 0.0, window_s: float = 2.0, free: bool = True) -> Rises:
    """Ten looks a second."""
    rises = begin(first_s, 1) if rises is None else rises
    for number, load_w in enumerate(loads_w):
        rises = rises.look(first_s + number / 10, np.array([load_w]), RATINGS_W, np.array([free]), window_s)
    return rises


def day_later(rises: Rises, days: float = 1.1) -> Rises:
    steady = rises.lows[-1][1]
    for _ in range(1, round(days * 24)):
        rises = rises.look(rises.looked_s + 3600.0, steady, RATINGS_W, FREE, 2.0)
    return rises


def test_until_a_day_has_been_seen_the_papers_rise_counts() -> None:
    young = looked([50e3] * 100)
    assert PRIOR_RATIO <= young.highest()[0] < PRIOR_RATIO + 0.01
    assert day_later(young).highest()[0] == 0.0


def test_a_rise_within_the_window_is_seen_whole_and_a_slower_one_in_part() -> None:
    quick, slow = ([50e3] * 50 + [50e3 + 20e3 * step / steps for step in range(1, steps + 1)] for steps in (10, 100))
    assert looked(quick).highest()[0] == 0.20
    assert 0.118 < looked(slow, window_s=8.0).highest()[0] <= 0.165, "of 2 % a second in 8 s"


def test_it_is_remembered_for_days_and_forgotten_after_two_weeks() -> None:
    rises = looked([50e3] * 30 + [70e3] * 30)
    assert day_later(rises, 3.0).highest()[0] == 0.20
    assert day_later(rises, 14.0).highest()[0] == 0.0


def test_what_caps_hold_back_shows_nothing() -> None:
    assert looked([50e3] * 30 + [90e3] * 30, free=False).highest()[0] < 0.13


def test_a_smaller_budget_is_no_rise() -> None:
    rises = looked([50e3] * 30)
    smaller = rises.look(3.0, np.array([50e3]), np.array([60e3]), FREE, 2.0)
    assert smaller.highest()[0] == rises.highest()[0]


def test_most_of_the_time_less_is_passed_than_the_highest() -> None:
    rises = looked(([50e3] * 500 + [65e3]) * 5)
    assert rises.quantile(0.5)[0] == 0.0 and rises.quantile(0.99)[0] <= rises.highest()[0] == 0.15


def test_a_state_that_was_left_behind_does_not_change() -> None:
    first = looked([50e3] * 30)
    before = first.seen_s.copy()
    first.look(3.0, np.array([90e3]), RATINGS_W, FREE, 2.0)
    assert (first.seen_s == before).all()
