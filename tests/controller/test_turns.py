"""When each domain is decided."""

from collections.abc import Sequence
from itertools import pairwise

from gpuwarden.controller.turns import COST_S, DECIDE_S, NODE_COST_S, URGENT_DECISIONS, URGENT_SHARE, Turns

TICKS_A_S = 20


def decided(turns: Turns, ticks: Sequence[int]) -> dict[str, list[int]]:
    """The ticks, numbered from 0, at which each domain is decided."""
    found: dict[str, list[int]] = {}
    for tick in ticks:
        for domain in turns.due(tick / TICKS_A_S):
            found.setdefault(domain, []).append(tick)
    return found


def test_all_are_decided_at_the_first_tick_then_each_five_times_a_second_and_few_at_one_tick() -> None:
    found = decided(Turns(dict.fromkeys("abcdefgh", 64)), range(1000))
    assert all(ticks[0] == 0 for ticks in found.values())
    for ticks in found.values():
        assert {later - earlier for earlier, later in pairwise(ticks[1:])} == {4}
    for tick in range(10, 100):
        assert sum(tick in ticks for ticks in found.values()) == 2


def test_where_ticks_are_rare_each_decides_all_and_none_is_made_up_for_later() -> None:
    turns = Turns(dict.fromkeys("ab", 64))
    assert decided(turns, range(0, 200, 20)) == {name: list(range(0, 200, 20)) for name in "ab"}
    assert decided(turns, range(200, 208)) == {"a": [200, 204], "b": [200, 202, 206]}


def test_after_a_late_tick_for_all_they_are_apart_again() -> None:
    turns = Turns(dict.fromkeys("abcdefgh", 64))
    decided(turns, [*range(10), *range(31, 36)])
    for tick in range(36, 60):
        assert len(decided(turns, [tick])) == 2


def test_a_jump_is_decided_at_once_twice_and_then_at_the_next_tick_and_others_are_let_alone() -> None:
    turns = Turns(dict.fromkeys("ab", 64))
    decided(turns, range(9))
    assert [turns.at_once("a", 0.42) for _ in range(URGENT_DECISIONS + 2)] == [True] * URGENT_DECISIONS + [False, False]
    due = decided(Turns(dict.fromkeys("ab", 64)), range(12))
    found = decided(turns, range(9, 12))
    assert found["a"][0] == 9 and found["b"] == [tick for tick in due["b"] if tick >= 9]


def test_who_is_hurried_is_decided_at_the_next_tick_once() -> None:
    turns = Turns({"a": 64})
    decided(turns, [0, 1, 2, 3, 4])
    turns.hurry("a")
    assert decided(turns, [5, 6]) == {"a": [5]}


def test_where_all_jump_everywhere_what_is_decided_early_is_bounded() -> None:
    turns = Turns(dict.fromkeys(map(str, range(100)), 64))
    decided(turns, range(20))
    early = 0
    for tick in range(20, 220):
        now_s = tick / TICKS_A_S
        early += len(list(turns.due(now_s)))
        for _ in range(20):
            early += sum(turns.at_once(str(domain), now_s) for domain in range(100))
    each_s = COST_S + 64 * NODE_COST_S
    due = 100 * 10.0 / DECIDE_S
    assert 0.9 < (early - due) * each_s / (URGENT_SHARE * 10.0) < 1.1


def test_the_largest_domain_is_decided_at_once_too_but_seldom() -> None:
    turns = Turns({"site": 10_000})
    decided(turns, range(20))
    assert [turns.at_once("site", 1.0), turns.at_once("site", 1.01)] == [True, False]
    assert decided(turns, [20, 21, 22, 23]) == {"site": [20]}
