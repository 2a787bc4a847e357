"""Every change of what is known goes through here, so that what is to be kept is written before anything rests on it."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from gpuwarden.controller.isolation.events import Action, Forget, Keep, Line, Tell
from gpuwarden.controller.isolation.facts import Facts
from gpuwarden.controller.isolation.lifecycle import TABLE, Cause, State
from gpuwarden.controller.isolation.records import Case, Mode, Record, WishKind

_SAID_BY_THE_ACT: Final = (Cause.DRAIN_ORDERED, Cause.RETURN_ORDERED, Cause.TEST_BEGUN)


class Book:
    """`facts`, and the ways to change them. `told`: alerts that fire, by key, with their node."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self._told: dict[str, Tell] = {}

    def keep(self, *records: Record) -> Iterator[Action]:
        for record in records:
            self.facts.put(record)
            yield Keep(record)

    def case_id(self) -> tuple[str, Keep]:
        """Of a new quarantine: kept before it is used, and never used again."""
        numbers = replace(self.facts.numbers, case=self.facts.numbers.case + 1)
        self.facts.put(numbers)
        return f"q{numbers.case}", Keep(numbers)

    def question_id(self) -> tuple[str, Keep]:
        """As above."""
        numbers = replace(self.facts.numbers, question=self.facts.numbers.question + 1)
        self.facts.put(numbers)
        return f"a{numbers.question}", Keep(numbers)

    def begin(self, node: str, cause: Cause, why: str, **changes: Any) -> Iterator[Action]:
        """A new quarantine of a node that has none, or that was given back from its last one."""
        id, kept = self.case_id()
        yield kept
        before, now_s = self.facts.state(node), self.facts.now_s
        signals = tuple(self.facts.signals.get(node, {}).values())
        fresh = Case(id, node, before, now_s, "", opened_s=now_s, signals=signals)
        yield from self.move(fresh, cause, why, **changes)

    def move(self, case: Case, cause: Cause, why: str, **changes: Any) -> Iterator[Action]:
        """Along the table; an assertion fails where it has no such move."""
        state = TABLE[case.state, cause]
        moved = replace(case, state=state, entered_s=self.facts.now_s, cause=why, **changes)
        if state is State.FOREIGN:  # that is no "would have"
            moved = replace(moved, shadow=False)
        if cause not in _SAID_BY_THE_ACT:
            quarantine = f" ({case.id})" if case.id else ""
            yield Line("node", case.node, f"{case.state.value} to {state.value}{quarantine}: {why}", not moved.shadow)
        if state in (State.HEALTHY, State.FOREIGN):
            yield from self.untell(f"{case.node}/{case.id}/")
        if state is State.HEALTHY:
            yield from self._close(case)
        else:
            yield from self.keep(moved)

    def _close(self, case: Case) -> Iterator[Action]:
        del self.facts.cases[case.node]
        yield Forget(f"case/{case.node}")
        for key in [key for key, effect in self.facts.effects.items() if effect.case == case.id]:
            del self.facts.effects[key]
            yield Forget(f"effect/{key}")

    def tell(self, case: Case, what: str, severity: str, title: str, text: str, *, restart: bool = False) -> Iterator[Action]:
        """Once for each case and `what`; in observe nobody is told."""
        kind = WishKind.REQUEUE if restart else WishKind.DRAIN
        if self.facts.mode(case.node, kind.action_class) is not Mode.OBSERVE:
            yield from self.tell_all(f"{case.node}/{case.id}/{what}", severity, title, text, case.node)

    def tell_all(self, key: str, severity: str, title: str, text: str, node: str = "") -> Iterator[Action]:
        """Once for each key."""
        told = Tell(f"isolation/{key}", True, severity, title, text, node)
        if self._told.get(key) != told:
            self._told[key] = told
            yield told

    def untell(self, prefix: str) -> Iterator[Action]:
        for key in [key for key in self._told if key.startswith(prefix)]:
            yield replace(self._told.pop(key), firing=False)
