"""How many more servers fit: where it can be reckoned by hand the answer is that, and what binds is named."""

from dataclasses import replace

import numpy as np
import pytest

from gpuwarden.controller.policies.ladder import LADDERS
from gpuwarden.controller.power.node_class import NodeClass
from gpuwarden.sim.whatif.held import Control
from gpuwarden.sim.whatif.load import Row
from gpuwarden.sim.whatif.question import Answer, Question, Service, answered
from gpuwarden.sim.whatif.recorded import Recorded, TooLittle, evenly

NODES, STEP_S = 20, 2.0


def recorded(power_w: np.ndarray) -> Recorded:
    return Recorded(tuple(f"n{number}" for number in range(len(power_w))), STEP_S, power_w.astype(np.float32))


def flat(power_w: float = 5000.0, steps: int = 1000) -> Recorded:
    return recorded(np.full((NODES, steps), power_w))


def question(row: Recorded, limit_w: float, preset: str = "none", floor_w: float = 100.0, base_w: float = 1000.0) -> Question:
    control = Control(limit_w, LADDERS[preset], 2.0, 2.0, 0.25)
    node = NodeClass("server", (), base_w=base_w, floor_w=floor_w)
    return Question(row, control, Service(), node, low_ratio=0.5, resamplings=20, seed=1)


def told(asked: Question) -> Answer:
    return answered(asked, lambda share: None)


def noisy(steps: int = 14_400, seed: int = 3) -> Recorded:
    """Independent servers, each with another load every two minutes, in eight hours of which the middle is the busiest."""
    chance = np.random.default_rng(seed)
    hour = 1.0 + 0.2 * np.sin(np.pi * np.arange(steps) / steps)
    return recorded(4000.0 * hour + np.repeat(chance.uniform(-900.0, 900.0, (NODES, -(-steps // 60))), 60, axis=1)[:, :steps])


def test_what_never_changes_fits_up_to_the_limit_and_the_brake_ends_it() -> None:
    answer = told(question(flat(), 125_000.0))
    assert answer.fit == (5, 5, 5)
    assert answer.binding == {"a trip of the breaker": 1.0, "the brake": 1.0}
    assert [(one.added, one.fits_ratio) for one in answer.table] == [(0, 1.0), (5, 1.0), (6, 0.0)]
    assert answer.table[1].peak == pytest.approx(1.0) and answer.table[2].over_s > 0


def test_a_row_that_is_over_its_limit_already_takes_none() -> None:
    answer = told(question(flat(), 90_000.0))
    assert answer.fit == (-1, -1, -1)
    assert "the brake" in answer.binding


def test_the_floors_end_it_where_the_load_would_not() -> None:
    """The floor of a node is 1000 + 1.155 * 8 * 100 = 1,924 W; two dead ones are in every sum."""
    answer = told(question(flat(1000.0), 60_000.0))
    assert 0 < answer.floors_fit < 20 and answer.fit == (answer.floors_fit,) * 3
    assert answer.binding == {"the floors: silence would no longer be safe": 1.0}
    assert told(question(flat(1000.0), 30_000.0)).fit == (-1, -1, -1)


def test_a_policy_ends_where_those_whom_it_locks_wait_too_long() -> None:
    """80 % of 125 kW are 20 servers, 89 % are 22: above that the low priority is locked to 0.787 for good, and waits 8.5 % longer.

    With three added it depends on whether the third is of the low priority and can give something.
    """
    power_w = np.full((NODES, 1000), 5000.0)
    power_w[:, 0] = 2000.0  # idle: a lock takes of what is above it
    answer = told(question(recorded(power_w), 125_000.0, "polca"))
    assert answer.fit[0] == 2 and answer.fit[2] <= 3
    assert answer.binding["the low priority's p50"] >= 0.5 and answer.binding.keys() <= {"the low priority's p50", "the high priority's p50"}
    assert answer.table[-1].low_p50 == pytest.approx(0.085) and answer.table[0].high_p99 == 0.0


def test_more_is_allowed_where_more_is_accepted() -> None:
    strict = question(noisy(), 115_000.0, "polca")
    lax = replace(strict, service=Service(brakes=1000, high_p50=9.0, high_p99=9.0, low_p50=9.0, low_p99=9.0))
    assert told(lax).fit[0] > told(strict).fit[0] >= 0


def test_the_same_seed_gives_the_same_answer_and_the_interval_covers_the_chance() -> None:
    asked = question(noisy(), 110_000.0)
    one = told(asked)
    assert told(asked) == one and one.blocks == 8
    assert one.fit[0] <= one.fit[1] <= one.fit[2] and one.fit[0] > 0
    assert abs(told(replace(asked, seed=2)).fit[1] - one.fit[1]) <= 1


def test_servers_that_swing_together_are_seen_and_doubled_at_the_same_instant() -> None:
    wave = 5000.0 + 1000.0 * np.sin(np.arange(3000) / 20.0)
    together = recorded(wave * np.ones((NODES, 1)))
    assert together.synchrony() == pytest.approx(NODES, rel=0.01) and together.swings_together
    independent = noisy(10_000)
    assert independent.synchrony() == pytest.approx(1.0, abs=0.4) and not independent.swings_together
    for row, fluctuates in ((together, 2.0), (independent, 2**0.5)):
        of = Row(row, 0.0, NODES, np.random.default_rng(5))
        alone, doubled = of.with_added(0), of.with_added(NODES)
        assert doubled.high_w.mean() + doubled.idle_w == pytest.approx(2 * (alone.high_w.mean() + alone.idle_w), rel=0.02)
        rises = [np.diff(load.high_w).std() for load in (alone, doubled)]
        assert rises[1] / rises[0] == pytest.approx(fluctuates, rel=0.2)


def test_a_reading_holds_until_the_next_one() -> None:
    index, time_s = np.array([0, 1, 0, 0, 1]), np.array([0.0, 1.0, 4.0, 8.0, 11.0])
    row = evenly(("a", "b"), index, time_s, np.array([10.0, 20.0, 30.0, 40.0, 50.0]))
    assert row.step_s == 4.0
    assert row.power_w.tolist() == [[30.0, 40.0], [20.0, 20.0]]


@pytest.mark.parametrize(
    ("time_s", "says"),
    [([5.0, 5.0], "one moment only"), ([0.0, 300.0], "every 300 s")],
)
def test_a_recording_that_cannot_answer_says_what_it_lacks(time_s: list[float], says: str) -> None:
    with pytest.raises(TooLittle, match=says):
        evenly(("a",), np.zeros(2, np.int64), np.array(time_s), np.array([1.0, 2.0]))
