"""When each domain is decided."""

from collections.abc import Sequence
from itertools import pairwise

from gpuwarden.controller.turns import URGENT_DECISIONS, Turns

TICKS_A_S = 20


def decided(turns: Turns, ticks: Sequence[int]) -> dict[str, list[int]]:
    """The ticks, numbered from 0, at which each domain is decided."""
    found: dict[str, list[int]] = {}
    for tick in ticks:
        for domain in turns.due(tick / TICKS_A_S):
            found.setdefault(domain, []).append(tick)
    return found


def test_all_are_decided_at_the_first_tick_then_each_five_times_a_second_and_few_at_one_tick() -> None:
    found = decided(Turns(list("abcdefgh")), range(1000))
    assert all(ticks[0] == 0 for ticks in found.values())
    for ticks in found.values():
        assert {later - earlier for earlier, later in pairwise(ticks[1:])} == {4}
    for tick in range(10, 100):
        assert sum(tick in ticks for ticks in found.values()) == 2


def test_where_ticks_are_rare_each_decides_all_and_none_is_made_up_for_later() -> None:
    turns = Turns(["a", "b"])
    assert decided(turns, range(0, 200, 20)) == {name: list(range(0, 200, 20)) for name in "ab"}
    assert decided(turns, range(200, 210)) == {"a": [200, 202, 206], "b": [200, 202, 206]}


def test_a_jump_is_decided_at_once_twice_and_then_at_the_next_tick_and_others_are_let_alone() -> None:
    turns = Turns(["a", "b"])
    decided(turns, range(9))
    assert [turns.at_once("a") for _ in range(URGENT_DECISIONS + 2)] == [True] * URGENT_DECISIONS + [False, False]
    due = decided(Turns(["a", "b"]), range(12))
    found = decided(turns, range(9, 12))
    assert found["a"][0] == 9 and found["b"] == [tick for tick in due["b"] if tick >= 9]


def test_who_is_hurried_is_decided_at_the_next_tick_once() -> None:
    turns = Turns(["a"])
    decided(turns, [0, 1, 2, 3, 4])
    turns.hurry("a")
    assert decided(turns, [5, 6]) == {"a": [5]}
