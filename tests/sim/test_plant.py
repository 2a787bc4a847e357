"""The simulated cards: they obey, with a lag, by their own sensors, and a sensor is refreshed ten times a second."""

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gpuwarden.sim.plant import GAIN, IDLE_W, STEP_S, Plant


def plant(seed: int = 1) -> Plant:
    return Plant(np.full(2, 2300.0), 8, 1.1, np.random.default_rng(seed))


def run(cards: Plant, seconds: float) -> None:
    for _ in range(round(seconds / STEP_S)):
        cards.advance()


@settings(max_examples=30)
@given(st.floats(100, 900), st.floats(200, 700), st.integers(0, 99))
def test_once_settled_a_card_draws_no_more_than_its_load_and_its_limit_by_its_own_sensor(
    demand_w: float, limit_w: float, seed: int
) -> None:
    cards = plant(seed)
    cards.demand_w[:], cards.limit_w[:] = demand_w, limit_w
    run(cards, 2.0)
    assert (cards.power_w <= demand_w + 0.1).all()
    assert (cards.sensor_w <= limit_w * 1.001).all()
    assert (cards.power_w <= limit_w / (1 - GAIN) + 0.1).all()


def test_a_new_limit_is_obeyed_within_a_second_but_not_at_once() -> None:
    cards = plant()
    cards.demand_w[:] = 650.0
    run(cards, 2.0)
    cards.limit_w[:] = 300.0
    run(cards, 0.05)
    assert cards.power_w.min() > 450.0
    run(cards, 1.0)
    assert cards.power_w.max() < 315.0


def test_a_sensor_changes_once_in_100_ms() -> None:
    cards = plant()
    cards.demand_w[:] = 650.0
    seen = []
    for _ in range(40):
        cards.advance()
        seen.append(cards.sensor_w[0, 0])
    assert sum(a != b for a, b in pairwise(seen)) <= 10


def test_energy_is_the_integral_of_power() -> None:
    cards = plant()
    run(cards, 10.0)
    assert np.allclose(cards.energy_j, IDLE_W * 10.0)
