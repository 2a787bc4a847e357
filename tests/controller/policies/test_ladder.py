"""The ladder of clock locks: when a rung is entered and left, and that a slow lock is given its time."""

from hypothesis import given
from hypothesis import strategies as st

from gpuwarden.controller.policies.ladder import BRAKE, LADDERS, Ladder, Standing, climb, clocks, polca

POLCA = LADDERS["polca"]
EFFECT_S = 40.0


def walked(ladder: Ladder, loads: list[float], every_s: float = 2.0) -> list[Standing]:
    standing, seen = Standing(), []
    for number, load in enumerate(loads):
        standing = climb(ladder, standing, number * every_s, load, EFFECT_S)
        seen.append(standing)
    return seen


def test_the_papers_thresholds_and_clocks() -> None:
    """80 and 89 %; 1275, 1110 and 1305 of 1410 MHz; left 5 points below."""
    assert [(rung.above, rung.below) for rung in POLCA] == [(0.80, 0.75), (0.89, 0.84), (0.89, 0.84)] == [
        (rung.above, round(rung.below, 2)) for rung in polca()
    ]
    mhz = [(5 * round(282 * rung.low_clock), 5 * round(282 * rung.high_clock)) for rung in POLCA]  # clocks go in steps
    assert mhz == [(1275, 1410), (1110, 1410), (1110, 1305)]


def test_each_rung_is_entered_above_and_left_below() -> None:
    assert [s.rungs for s in walked(POLCA, [0.80, 0.81, 0.76, 0.75, 0.749])] == [0, 1, 1, 1, 0]


def test_a_jump_takes_both_low_rungs_at_once_but_the_high_priority_waits_for_the_locks_effect() -> None:
    seen = walked(POLCA, [0.95] * 22)
    assert [s.rungs for s in seen[:20]] == [2] * 20
    assert seen[20].rungs == 3 and clocks(POLCA, seen[20]) == (0.787, 0.926)


def test_a_load_that_fell_in_time_spares_the_high_priority() -> None:
    assert max(s.rungs for s in walked(POLCA, [0.95] * 15 + [0.86] * 30)) == 2


def test_below_the_lower_thresholds_it_comes_down_rung_by_rung() -> None:
    assert [s.rungs for s in walked(POLCA, [0.95] * 21 + [0.83, 0.74])][-2:] == [1, 0]


@given(st.lists(st.floats(0.0, 1.5), max_size=200), st.sampled_from(sorted(LADDERS)))
def test_nobody_is_slowed_without_need_and_the_low_priority_never_less_than_the_high(loads: list[float], name: str) -> None:
    ladder = LADDERS[name]
    for load, standing in zip(loads, walked(ladder, loads), strict=True):
        low, high = clocks(ladder, standing)
        assert low <= high <= 1.0
        assert standing.rungs == 0 or load >= ladder[standing.rungs - 1].below
    for standing in walked(BRAKE, loads):
        assert clocks(BRAKE, standing) in ((1.0, 1.0), (0.204, 0.204))
