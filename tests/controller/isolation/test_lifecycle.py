"""The table of a node's states, and the page that shows it."""

from pathlib import Path

import pytest

from gpuwarden.controller.isolation.book import Book
from gpuwarden.controller.isolation.config import IsolationConfig
from gpuwarden.controller.isolation.document import rewritten
from gpuwarden.controller.isolation.facts import Facts
from gpuwarden.controller.isolation.lifecycle import OUT, TABLE, Cause, State
from gpuwarden.controller.isolation.records import Case

PAGE = Path(__file__).resolve().parents[3] / "docs" / "isolation.md"


def test_the_page_shows_the_table_that_is_obeyed() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert rewritten(text) == text, "python -m gpuwarden.controller.isolation.document docs/isolation.md"


def reached(start: State) -> set[State]:
    seen = {start}
    while more := {to for (state, _), to in TABLE.items() if state in seen} - seen:
        seen |= more
    return seen


def test_every_state_is_reached_and_none_is_a_trap() -> None:
    assert reached(State.HEALTHY) == set(State)
    assert {state for state in State if State.HEALTHY not in reached(state)} == set()


def test_somebody_else_may_take_or_give_back_a_node_at_any_time() -> None:
    assert {state for state, cause in TABLE if cause is Cause.HELD_BY_OTHERS} == set(State) - {State.FOREIGN}
    assert {state for state, cause in TABLE if cause is Cause.RESUMED_BY_OTHERS} == set(OUT)


def test_only_an_order_takes_a_node_out_and_a_lemon_comes_back_by_a_person_only() -> None:
    assert {cause for (state, cause), to in TABLE.items() if state not in OUT and to in OUT} == {Cause.DRAIN_ORDERED, Cause.FOUND}
    ways = {cause for state, cause in TABLE if state is State.LEMON}
    assert ways == {Cause.RETURN_ORDERED, Cause.RESUMED_BY_OTHERS, Cause.HELD_BY_OTHERS}


def test_what_is_not_in_the_table_does_not_happen() -> None:
    book = Book(Facts(IsolationConfig()))
    with pytest.raises(KeyError):
        list(book.move(Case("q1", "n1", State.HEALTHY, 0.0, ""), Cause.TEST_PASSED, "nobody asked"))
