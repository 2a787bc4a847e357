"""The product through a slice of the safety simulation; `make sim-power` runs it whole."""

from collections import Counter
from dataclasses import replace

import pytest

from gpuwarden.sim.safety import wishes
from gpuwarden.sim.safety.ordeal import Outcome, undergo
from gpuwarden.sim.safety.row import ONE_HZ, TEN_HZ


@pytest.fixture(scope="module")
def outcomes() -> list[Outcome]:
    slow = [undergo(seed, policy, ONE_HZ, 50.0) for seed, policy in enumerate(wishes.NAMES)]
    return [*slow, undergo(7, "fair-share", TEN_HZ, 15.0)]


def test_nothing_trips_and_nothing_that_must_hold_is_broken(outcomes: list[Outcome]) -> None:
    assert [outcome.broken for outcome in outcomes] == [""] * len(outcomes)


def test_demand_is_above_the_rating_and_faults_come_often_enough(outcomes: list[Outcome]) -> None:
    passed_s = sum(outcome.passed_s for outcome in outcomes)
    assert sum(outcome.above_s for outcome in outcomes) >= 0.3 * passed_s
    struck = sum((outcome.faults for outcome in outcomes), Counter[str]())
    assert struck.total() >= passed_s / 600.0
    assert len(struck) >= 5


def test_the_same_seed_is_the_same_run() -> None:
    one, same, other = (undergo(seed, "erratic", ONE_HZ, 20.0) for seed in (3, 3, 4))
    assert replace(one, cpu_s=0.0) == replace(same, cpu_s=0.0)
    assert (one.reports, one.grants, one.over_s) != (other.reports, other.grants, other.over_s)
