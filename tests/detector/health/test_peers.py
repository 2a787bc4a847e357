"""Rows beside the others of their group: what a job does to all is nothing, what one always does is nothing, and the one that changes is named."""

import copy

import numpy as np
import pytest

from gpuwarden.detector.health.others import Numbers, others
from gpuwarden.detector.health.peers import Beside, Usual, beside, nothing_learned
from gpuwarden.detector.health.rate import BLOCK_MINUTES, no_maxima, rates
from gpuwarden.detector.health.scale import Array

FLOOR = np.full(3, 1e-3)
FREE = np.zeros(12, bool)
NONE_NEW = FREE
Lived = tuple[Usual, Array, np.random.Generator]


def plain(values: Array, group: Numbers) -> Array:
    """The median of the others as one would write it first."""
    out = np.full(values.shape, np.nan)
    for row, of in enumerate(group):
        mates = values[(group == of) & (np.arange(len(group)) != row)] if of >= 0 else values[:0]
        for feature in range(values.shape[1]):
            known = mates[~np.isnan(mates[:, feature]), feature]
            if len(known) and not np.isnan(values[row, feature]):
                out[row, feature] = np.median(known)
    return out


@pytest.mark.parametrize("seed", range(5))
def test_the_median_of_the_others_is_that_of_the_others(seed: int) -> None:
    chance = np.random.default_rng(seed)
    group = chance.integers(-1, 6, 60)
    group[:9] = 7  # one more than a power of two
    values = chance.integers(0, 9, (60, 3)).astype(np.float64)  # many are equal
    values[chance.random(values.shape) < 0.2] = np.nan
    median, count = others(values, group)
    assert np.array_equal(median, plain(values, group), equal_nan=True)
    assert ((count > 0) == ~np.isnan(median)).all()


def test_one_alone_has_no_others() -> None:
    assert np.isnan(others(np.ones((3, 2)), np.array([-1, 0, 1]))[0]).all()


def told(chance: np.random.Generator, own: Array, job: Numbers) -> Array:
    """A minute of nodes that are each a little other than the next, under loads that swing a hundred times as wide as they do."""
    load = 10 * np.random.default_rng(int(chance.integers(1 << 30))).standard_normal((int(job.max()) + 1, 3))
    return np.asarray(load[job] + own + 0.1 * chance.standard_normal(own.shape))


@pytest.fixture(scope="module")
def past() -> tuple[Usual, Array]:
    """Twelve nodes in jobs of four, with others every two hours."""
    chance = np.random.default_rng(2)
    own, usual = 3 * chance.standard_normal((12, 3)), nothing_learned(12, 3)
    for run in range(24):
        job = chance.permutation(np.arange(12) // 4)
        for _ in range(120):
            beside(usual, told(chance, own, job), job, job + 3 * run, FREE, FLOOR, NONE_NEW)
    return usual, own


@pytest.fixture
def lived(past: tuple[Usual, Array]) -> Lived:
    return *copy.deepcopy(past), np.random.default_rng(3)


def minutes(usual: Usual, own: Array, chance: np.random.Generator, job: Numbers, run: int, many: int) -> Beside:
    for _ in range(many):
        seen = beside(usual, told(chance, own, job), job, job + run, FREE, FLOOR, NONE_NEW)
    return seen


def test_what_a_node_always_is_and_what_its_job_does_are_nothing_and_what_it_alone_begins_to_do_is_much(lived: Lived) -> None:
    usual, own, chance = lived
    job = np.arange(12) // 4
    seen = minutes(usual, own, chance, job, 1000, 100)
    assert np.abs(seen.changed).max() < 4.5
    assert np.abs(seen.level).max() < 4.5
    ill = own.copy()
    ill[5, 1] += 0.5  # a sixth of what nodes differ by anyway
    seen = minutes(usual, ill, chance, job, 1000, 20)
    assert seen.changed[5, 1] > 6
    assert np.abs(np.delete(seen.changed, 5, 0)).max() < 4.5
    assert seen.seen[5, 1] - seen.expected[5, 1] == pytest.approx(0.5, abs=0.4)


def test_a_node_that_is_ill_already_when_its_job_begins_is_seen_by_its_level(lived: Lived) -> None:
    usual, own, chance = lived
    ill = own.copy()
    ill[5, 1] += 3.0
    seen = minutes(usual, ill, chance, np.arange(12) // 4, 1000, 60)
    assert abs(seen.level[5, 1]) > 6
    assert np.abs(np.delete(seen.level, 5, 0)).max() < 4.5


def test_with_nobody_beside_it_and_in_the_first_minutes_nothing_is_said(lived: Lived) -> None:
    usual, own, chance = lived
    assert np.isnan(minutes(usual, own, chance, np.arange(12), 1000, 30).changed).all()
    assert np.isnan(minutes(usual, own, chance, np.arange(12) // 4, 2000, 5).changed).all()


def test_what_is_missing_is_not_said_and_spoils_nothing(lived: Lived) -> None:
    usual, own, chance = lived
    gone = own.copy()
    gone[3, 0] = np.nan
    seen = minutes(usual, gone, chance, np.arange(12) // 4, 1000, 60)
    assert np.isnan(seen.changed[3, 0]) and np.isfinite(np.delete(seen.changed.ravel(), 9)).all()
    assert all(np.isfinite(getattr(usual, name)).all() for name in Usual.__slots__)


@pytest.mark.parametrize("budget", [0.3, 0.1])
def test_a_rate_is_what_comes(budget: float) -> None:
    """Scores with exponential tails, a new one every minute: as many are above the level of a rate as it says."""
    chance, maxima, came = np.random.default_rng(4), no_maxima(200, 1), 0
    days = 12
    for minute in range(days * 1440):
        rate = rates(maxima, chance.exponential(1, (200, 1)))
        came += int((rate < budget).sum()) if minute >= 5 * 1440 else 0
    assert budget / 1.5 < came / (200 * (days - 5)) < budget * 1.5


def test_a_fault_in_history_makes_nobody_deaf() -> None:
    def level(ill: float) -> float:
        chance, maxima = np.random.default_rng(4), no_maxima(100, 1)
        for minute in range(7 * 1440):
            scores = chance.exponential(1, (100, 1))
            scores[0] += ill * (minute > 6 * 1440)
            rates(maxima, scores)
        return float(maxima.middle[0] + 10 * maxima.width[0])

    assert level(1000.0) == pytest.approx(level(0.0), rel=0.1)


def test_nothing_is_said_before_there_are_maxima() -> None:
    maxima = no_maxima(10, 2)
    for _ in range(BLOCK_MINUTES):
        assert np.isnan(rates(maxima, np.ones((10, 2)))).all()
