"""All rails asked, one answer."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from gpuwarden.controller.isolation.evidence import Verdict, fuse
from gpuwarden.controller.isolation.facts import Facts
from gpuwarden.controller.isolation.rails import ACTION_RAILS, SIGNAL_RAILS, ActionRail, SignalRail
from gpuwarden.controller.isolation.records import Case
from gpuwarden.controller.isolation.signals import Signal, sort_of
from gpuwarden.controller.isolation.wish import NoEvidence, Objection, Weight, Wish


@dataclass(frozen=True, slots=True)
class Rails:
    """The two tables. Tests take one out at a time."""

    signal: Mapping[str, SignalRail]
    action: Mapping[str, ActionRail]


ALL = Rails(SIGNAL_RAILS, ACTION_RAILS)


@dataclass(frozen=True, slots=True)
class Ruling:
    """`stop`: what forbids it, and which rail says so; `asks`: what a person may allow."""

    rail: str = ""
    stop: Objection | None = None
    asks: tuple[str, ...] = ()


def judge(wish: Wish, facts: Facts, rails: Rails) -> Ruling:
    """What only asks does not end the round: a person should hear all of it. It does not stop a person who asks himself."""
    asks = list[str]()
    for name, rail in rails.action.items():
        said = rail(wish, facts)
        if said is None:
            continue
        if said.weight is not Weight.ASK:
            return Ruling(name, said)
        if not wish.by:
            asks.append(said.why)
    return Ruling(asks=tuple(asks))


def admitted(signals: Iterable[Signal], facts: Facts, rails: Rails) -> Iterator[Signal]:
    """Those that count as evidence now."""
    for signal in signals:
        if signal.firing and dropped(signal, facts, rails) is None:
            yield signal


def dropped(signal: Signal, facts: Facts, rails: Rails) -> NoEvidence | None:
    """Why it does not count; None if it does."""
    sort = sort_of(signal.kind)
    if sort is None:
        return NoEvidence("such a finding accuses no node")
    return next((said for rail in rails.signal.values() if (said := rail(signal, sort, facts)) is not None), None)


def verdict_of(case: Case, facts: Facts, rails: Rails) -> Verdict:
    """On a node with a case, from what fires now, what a test said, and what an operator said."""
    return fuse(admitted(case.signals, facts, rails), case.failed_test, case.ordered_by)


def first_verdict(node: str, facts: Facts, rails: Rails) -> Verdict:
    """On a node without one."""
    return fuse(admitted(facts.signals.get(node, {}).values(), facts, rails))
