"""The last hour of each node's score."""

import numpy as np

from gpuwarden.detector.health.trend import MINUTES, Trends, trend

FIRST = 28_333_440


def test_each_minute_has_its_own_value_over_gaps_and_turns_of_the_ring() -> None:
    trends, chance = Trends(3), np.random.default_rng(5)
    noted: list[dict[int, float]] = [{}, {}, {}]
    for minute in range(FIRST, FIRST + 200):
        rows = np.flatnonzero(chance.random(3) < 0.8)
        values = chance.random(len(rows)).astype(np.float32)
        trends.note(rows, np.full(len(rows), minute), values)
        for row, value in zip(rows.tolist(), values.tolist(), strict=True):
            noted[row][minute] = value
        for row in range(3):
            wanted = [noted[row].get(at, np.nan) for at in range(minute - MINUTES + 1, minute + 1)]
            np.testing.assert_array_equal(trends.until(row, minute), wanted)


def test_what_was_is_of_no_minute_an_hour_later_nor_after_the_clock_was_set_back_nor_when_forgotten() -> None:
    trends = Trends(2)
    trends.note(np.array([0, 1]), np.array([FIRST, FIRST]), np.array([1.0, 2.0]))
    assert np.isnan(trends.until(0, FIRST + MINUTES)).all() and np.isnan(trends.until(0, FIRST - MINUTES)).all()
    trends.forget(np.array([1]))
    assert np.isnan(trends.until(1, FIRST)).all() and trends.until(0, FIRST)[-1] == 1.0


def test_a_node_takes_its_hour_to_another_row() -> None:
    first, second = Trends(2), Trends(4)
    first.note(np.array([0, 1]), np.array([FIRST, FIRST + 1]), np.array([1.0, 2.0]))
    second.put(np.array([3]), first, np.array([1]))
    assert second.until(3, FIRST + 1)[-1] == 2.0 and np.isnan(second.until(0, FIRST + 1)).all()


def test_a_finding_has_no_minutes_from_before_anything_was_known() -> None:
    values = np.array([np.nan, np.nan, 1.0, np.nan, 2.0], np.float32)
    shown = trend("score", values, 1.5, FIRST)
    assert str(list(shown.values)) == "[1.0, nan, 2.0]" and (shown.threshold, shown.until_unix_ns) == (1.5, FIRST)
    assert not trend("score", values[:2], 1.5, FIRST).values
