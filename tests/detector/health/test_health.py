"""Scores of health: causal, whole with gaps, and able to name the metric that went wrong."""

import numpy as np
import pytest

from gpuwarden.detector.health.budget import daily, findings, threshold
from gpuwarden.detector.health.extremes import gumbel, level_of
from gpuwarden.detector.health.past import past
from gpuwarden.detector.health.rolling import Scored, scored
from gpuwarden.detector.health.scale import Array, floors, scale
from gpuwarden.detector.health.score import guilty, held

STEP_S = 300.0
DAY = 288
NAMES = ("power_w", "temperature_c", "utilization", "memory_bytes", "fan", "driver")


def nodes(days: int = 8, seed: int = 1) -> Array:
    """Two nodes under one changing load: four metrics that follow it, one of its own, one constant."""
    chance = np.random.default_rng(seed)
    load = np.sin(np.arange(days * DAY) / 40)[None, :, None] + chance.normal(0, 0.3, (2, days * DAY, 1))
    follow = load * np.array([200.0, 10.0, 30.0, 5.0]) + chance.normal(0, 1, (2, days * DAY, 4)) * np.array([4.0, 0.5, 1.0, 0.2])
    own = chance.normal(50, 2, (2, days * DAY, 1))
    return np.concatenate((follow, own, np.full((2, days * DAY, 1), 7.0)), 2)


def judged(values: Array) -> Scored:
    return scored(values, STEP_S, floors(values[:, : 5 * DAY]))


def test_later_rows_never_change_earlier_scores() -> None:
    values = nodes()
    at = 6 * DAY + 100
    changed = values.copy()
    changed[:, at:] += 1000
    before, after = judged(values), judged(changed)
    assert np.array_equal(before.score[:, :at], after.score[:, :at], equal_nan=True)
    assert not np.array_equal(before.score[:, at:], after.score[:, at:])


def test_a_planted_fault_is_found_and_its_metric_named() -> None:
    """Cooler than its power says, though within what it has always been: no threshold on the metric itself could see it."""
    values = nodes()
    at = slice(7 * DAY, 7 * DAY + 12)
    values[1, at, 1] = values[1, at, 1].mean() - 0.9 * (values[1, at, 0] - values[1, at, 0].mean()) / 20
    assert np.abs(values[1, at, 1]).max() < np.abs(values[1, : 7 * DAY, 1]).max()
    found = judged(values)
    level = threshold(found.score[:, : 7 * DAY], STEP_S, 0.1)
    assert (found.score[1, at] > level).any()
    assert not (found.score[0, at] > level).any()
    (worst, share), *_ = guilty(found.carried[1, at].mean(0), NAMES, 3)
    assert worst == "temperature_c" and share > 0.4


def test_missing_values_are_left_out_and_a_dead_metric_says_nothing() -> None:
    values = nodes()
    values[0, 6 * DAY : 6 * DAY + 50] = np.nan  # a silent node
    values[1, :, 4] = np.nan  # a metric that was never there
    values[1, 6 * DAY :, 0] = np.nan  # and one that goes
    found = judged(values)
    assert np.isfinite(found.score[:, DAY:]).all()
    assert np.isnan(found.carried[0, 6 * DAY : 6 * DAY + 50]).all()
    assert np.isnan(found.carried[1, :, 4]).all() and np.isnan(found.carried[1, 6 * DAY :, 0]).all()
    assert np.median(found.score[1, 6 * DAY :]) < 2 * np.median(found.score[0, 6 * DAY + 100 :])


def test_a_constant_metric_never_counts_until_it_moves() -> None:
    values = nodes()
    values[0, 7 * DAY :, 5] = 8.0
    found = judged(values)
    assert np.abs(found.carried[0, DAY : 7 * DAY, 5]).max() < 1e-9
    assert guilty(found.carried[0, 7 * DAY], NAMES, 1)[0][0] == "driver"


def test_the_same_history_gives_the_same_scores_whatever_stands_beside_it() -> None:
    values = nodes()
    assert np.array_equal(judged(values).score, judged(values).score, equal_nan=True)
    assert np.allclose(judged(values).score[1:], judged(values[1:]).score, equal_nan=True)


def test_the_first_day_teaches() -> None:
    assert np.isnan(judged(nodes()).score[:, :DAY]).all()


def test_the_past_is_of_rows_before() -> None:
    values = np.array([[[1.0], [np.nan], [3.0], [4.0]]])
    last, mean = np.split(past(values, 1800.0), 2, 2)
    assert np.array_equal(last.ravel(), [np.nan, np.nan, 1, 3], equal_nan=True)
    assert np.array_equal(mean.ravel(), [np.nan, np.nan, 1, 2], equal_nan=True)


def test_a_scale_holds_a_floor_under_what_hardly_moves() -> None:
    window = np.array([[[5.0, 0.0], [5.0, 100.0], [5.0, 100.0]]])
    assert np.allclose(floors(window), [[[0.05, 1.0]]])
    own = scale(window, floors(window))
    assert own.deviations(np.array([[[5.1, 0.0]]]))[0, 0, 0] == pytest.approx(2)


def test_a_score_is_held_for_a_while() -> None:
    score = held(np.array([[0.0, 8, 0, 0, 0, 0, 0, 0]]), STEP_S)
    assert score[0, 0] == 0 and score[0, 1] == 8
    assert score[0, 7] == pytest.approx(4)  # half an hour later


def test_findings_close_together_are_one() -> None:
    above = np.zeros((2, 100), bool)
    above[0, [10, 15, 40]] = above[1, 10] = True
    assert findings(above, 60.0) == 3


@pytest.mark.parametrize("budget", [0.5, 1.0, 2.0])
def test_a_threshold_keeps_its_budget_on_new_days(budget: float) -> None:
    score = np.random.default_rng(3).exponential(1, (20, 20 * DAY))
    level = threshold(score[:, : 10 * DAY], STEP_S, budget)
    real = findings(score[:, 10 * DAY :] > level, STEP_S) / (20 * 10)
    assert budget / 2 < real < budget * 2


def test_faults_of_the_week_do_not_make_a_node_deaf() -> None:
    """Five of them, where the budget is less than one: the lowest threshold that had kept it would lie above four."""
    healthy = held(np.random.default_rng(5).exponential(1, (1, 7 * DAY)), STEP_S)
    ill = healthy.copy()
    for day in range(1, 6):
        ill[0, day * DAY : day * DAY + 6] = 100 + day
    assert threshold(healthy, STEP_S, 0.1) < threshold(ill, STEP_S, 0.1) < 2 * threshold(healthy, STEP_S, 0.1) < 50


def test_a_short_history_sets_the_lowest_threshold_that_keeps_it() -> None:
    """Of four days there are too few largest scores."""
    score = held(np.random.default_rng(5).exponential(1, (1, 4 * DAY)), STEP_S)
    assert threshold(score, STEP_S, 0.1) == score.max()
    assert findings(score > threshold(score, STEP_S, 1.0), STEP_S) == 4


def test_the_law_of_largest_scores_is_found_through_a_few_that_are_none_of_it() -> None:
    maxima = np.random.default_rng(6).gumbel(10, 2, 4000)
    assert gumbel(maxima) == (pytest.approx(10, abs=0.1), pytest.approx(2, abs=0.1))
    maxima[:80] = 1e6
    assert gumbel(maxima) == (pytest.approx(10, abs=0.3), pytest.approx(2, abs=0.3))


@pytest.mark.parametrize("known", [40, 56, 1000])
def test_a_level_from_few_maxima_is_passed_as_often_as_it_should_be(known: int) -> None:
    """On the average over what such a few may be, and without regard to how few they are it would be half as often again."""
    maxima = np.random.default_rng(7).gumbel(3, 2, (4000, known))
    laws = np.array([gumbel(one) for one in maxima])
    passed, naive = (float(np.mean(1 - np.exp(-np.exp(-(laws[:, 0] + laws[:, 1] * level - 3) / 2)))) for level in (level_of(1 / 80, known), np.log(80)))
    assert passed == pytest.approx(1 / 80, rel=0.2)
    assert known > 100 or naive > 1.25 / 80


def test_no_history_gives_no_finding() -> None:
    assert threshold(np.full((2, 10), np.nan), STEP_S, 0.1) == float("inf")


def test_a_threshold_follows_a_node_whose_scores_drift_and_never_looks_ahead() -> None:
    score = np.random.default_rng(4).exponential(1, (1, 40 * DAY))
    score[:, 20 * DAY :] *= 3
    level = daily(score, STEP_S, 1.0)
    assert np.isinf(level[0, :DAY]).all()
    late = findings(score[:, 30 * DAY :] > level[:, 30 * DAY :], STEP_S) / 10
    assert 0.4 < late < 2.5
    changed = score.copy()
    changed[:, 25 * DAY :] *= 2
    assert np.array_equal(daily(changed, STEP_S, 1.0)[:, : 25 * DAY], level[:, : 25 * DAY])
