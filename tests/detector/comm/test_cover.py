"""The fewest hosts behind slow ways; what takes their place cannot be told apart; and medians that go round what is missing."""

import numpy as np
import pytest

from gpuwarden.detector.comm.beside import of_others
from gpuwarden.detector.comm.cover import Over, behind
from gpuwarden.detector.robust import median


def messages(slow: set[str], paths: list[str]) -> list[Over]:
    return [Over(frozenset(path), path[0], path[1], path in slow, path not in slow) for path in paths]


@pytest.mark.parametrize(
    ("slow", "hosts"),
    [
        ({"ab", "ba", "bc", "cb"}, [{"b"}]),  # all that goes over b
        ({"bc", "ba"}, [{"b"}]),  # what b sends
        ({"ab", "cb"}, [{"b"}]),  # what b receives
        ({"bc"}, [{"b", "c"}]),  # one path
        ({"ab", "ba", "cd", "dc"}, [{"a"}, {"d"}]),  # the ends of a chain, since its middle goes well
        (set(), []),
    ],
)
def test_what_is_behind_slow_messages(slow: set[str], hosts: list[set[str]]) -> None:
    found = [set(of) for of, _ in behind(messages(slow, ["ab", "ba", "bc", "cb", "cd", "dc"]))]
    assert sorted(found, key=sorted) == hosts


def test_parts_that_take_each_others_place_stand_together() -> None:
    """Two chains of two, slow both, and one of two communicators across them surely slow: of the other nothing is known."""
    ways = [*messages({"ab", "ba", "cd", "dc"}, ["ab", "ba", "cd", "dc", "ef", "fe"]), Over(frozenset("ace"), None, None, True, False)]
    assert sorted(sorted(of) for of, _ in behind(ways)) == [["a", "b"], ["c", "d"]]


def test_medians_leave_out_what_is_missing() -> None:
    chance = np.random.default_rng(1)
    values = np.where(chance.random((40, 7)) < 0.2, np.nan, chance.integers(0, 4, (40, 7)).astype(float))
    assert np.array_equal(median(values), np.nanmedian(values, axis=1))
    assert np.isnan(median(values[:, :0])).tolist() == [True] * len(values)
    assert np.isnan(median(values[:0], 0)).tolist() == [True] * values.shape[1]
    for row, beside in zip(values, of_others(values), strict=True):
        for place in range(7):
            want = np.nan if np.isnan(row[place]) else np.nanmedian(np.delete(row, place))
            assert np.array_equal(beside[place], want, equal_nan=True)
