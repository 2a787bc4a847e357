"""True breakers against their own formulas, by hand."""

import numpy as np
import pytest

from gpuwarden.sim.safety.breakers import Breakers
from gpuwarden.sim.safety.site import ENDLESS_S, Element


def breakers(**changed: object) -> Breakers:
    one = {"name": "rack", "kind": "thermal", "rating_w": 1000.0, "tau_s": ENDLESS_S, "trip": 11.0, "ceiling_ratio": 1.6, "dead_count": 1}
    made = Breakers([Element(**{**one, **changed})], np.random.default_rng(0))  # type: ignore[arg-type]  # a test's keywords
    made.heat[:] = 0.0
    return made


def seconds_until_broken(made: Breakers, load_w: float, at_most_s: float = 100.0) -> float:
    passed_s = 0.0
    while passed_s < at_most_s and not made.carry(np.array([load_w]), 0.1):
        passed_s += 0.1
    return passed_s


def test_a_constant_overload_trips_when_its_square_less_one_has_added_up() -> None:
    assert seconds_until_broken(breakers(), 1500.0) == pytest.approx(11.0 / 1.25, abs=0.15)


def test_a_first_order_element_bears_more_for_longer() -> None:
    tau_s, rate = 30.0, 1.25
    expected_s = -tau_s * np.log(1 - 11.0 / (tau_s * rate))
    assert seconds_until_broken(breakers(tau_s=tau_s), 1500.0) == pytest.approx(expected_s, abs=0.2)


def test_at_its_rating_it_holds_for_ever_and_stays_as_warm_as_it_is() -> None:
    made = breakers()
    made.heat[:] = 5.0
    assert not made.carry(np.array([1000.0]), 1e6)
    assert made.heat[0] == pytest.approx(5.0, rel=0.01)


def test_its_ceiling_is_passed_in_no_time() -> None:
    assert "its ceiling is 1.60" in breakers().carry(np.array([1601.0]), 0.001)


def test_a_contract_adds_up_what_is_above_it() -> None:
    assert seconds_until_broken(breakers(kind="contract", trip=5.0), 1500.0) == pytest.approx(10.0, abs=0.15)


def test_a_hard_one_bears_nothing_above_its_rating() -> None:
    made = breakers(kind="hard", trip=np.inf, ceiling_ratio=1.0)
    assert not made.carry(np.array([1000.0]), 1e6)
    assert made.carry(np.array([1000.1]), 0.001)


def test_seconds_above_the_rating_are_told_in_all_and_in_one_go() -> None:
    made = breakers(trip=1000.0)
    for load_w, steps in ((1250.0, 30), (900.0, 10), (1250.0, 20)):
        for _ in range(steps):
            made.carry(np.array([load_w]), 0.1)
    assert made.over_s[:, 0] == pytest.approx([5.0, 5.0, 5.0, 5.0, 0.0, 0.0, 0.0])
    assert made.longest_s[:, 0] == pytest.approx([3.0, 3.0, 3.0, 3.0, 0.0, 0.0, 0.0])
