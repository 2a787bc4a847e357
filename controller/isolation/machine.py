"""The isolating machine: findings, the scheduler's truth and people's words in; ledger lines and acts out.

It is level-based. An event changes what is known; then, whatever the event was, nodes move along the table as far as they can, and all that
should be done now is wished for, held against the rails, and done in the mode that is set. So nothing depends on which event came last, and a
restart goes on from the records: what was done is known by its key, what is under way is not ordered again, and the rest follows anew.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final, assert_never

from gpuwarden.controller.isolation import asking, people, taking
from gpuwarden.controller.isolation.acting import advice_of, perform
from gpuwarden.controller.isolation.book import Book
from gpuwarden.controller.isolation.config import IsolationConfig
from gpuwarden.controller.isolation.events import (
    Action,
    Approve,
    CapsSeen,
    ChooseMode,
    Cordon,
    Event,
    JobTold,
    Line,
    OwnerSeen,
    Performed,
    Probed,
    ProbesOffered,
    Reject,
    SchedulerLost,
    SignalHeard,
    Started,
    TenantsSeen,
    Tick,
    TruthSeen,
    Uncordon,
)
from gpuwarden.controller.isolation.evidence import Verdict, fuse
from gpuwarden.controller.isolation.facts import Facts
from gpuwarden.controller.isolation.judging import (
    ALL,
    Rails,
    Ruling,
    admitted,
    dropped,
    first_verdict,
    judge,
    verdict_of,
)
from gpuwarden.controller.isolation.lifecycle import TABLE, Cause, State
from gpuwarden.controller.isolation.moves import next_move
from gpuwarden.controller.isolation.overdue import overdue
from gpuwarden.controller.isolation.records import Case, WishKind
from gpuwarden.controller.isolation.signals import Signal
from gpuwarden.controller.isolation.wish import NoEvidence, Weight, Wish, test_key
from gpuwarden.controller.isolation.wishes import wishes_of

MOVES_MOST: Final = 16  # of one node in one step: more would be a circle in the table
HELD_MOST: Final = 10_000
TEST_S: Final = 1800.0  # dcgmi diag level 3 takes 15 min


class Isolation:
    """`rails` are all of them, but where a test takes one out."""

    def __init__(self, config: IsolationConfig, rails: Rails = ALL) -> None:
        self.facts = Facts(config)
        self._book, self._rails = Book(self.facts), rails
        self._held: dict[str, str] = {}  # what was last said of a wish that is held back, by its key
        self._late: dict[str, set[str]] = {}  # what was said to be overdue, by quarantine

    def verdict(self, node: str) -> Verdict:
        """On a node with a case, as it stands."""
        return verdict_of(self.facts.cases[node], self.facts, self._rails)

    def held_back(self, node: str) -> tuple[str, ...]:
        """What should be done about it and is not, each with the reason."""
        case = self.facts.cases[node]
        rulings = ((wish, judge(wish, self.facts, self._rails)) for wish in wishes_of(case, self.verdict(node), self.facts))
        return tuple(f"{wish.sentence}: {ruling.stop.why}" for wish, ruling in rulings if ruling.stop is not None and not ruling.stop.quiet)

    def step(self, now_s: float, event: Event) -> list[Action]:
        """Actions are to be performed in order, and a failing one ends the list: each rests on those before it."""
        self.facts.now_s = max(self.facts.now_s, now_s)
        self._forget_said()
        return [*self._take(event), *self._settle(), *self._pursue_all()]

    def _forget_said(self) -> None:
        """What was said goes with what it was said of; should it be much all the same, it is said again."""
        open_cases = {case.id for case in self.facts.cases.values()}
        self._late = {id: whats for id, whats in self._late.items() if id in open_cases}
        if len(self._held) > HELD_MOST:
            self._held.clear()

    def _take(self, event: Event) -> Iterator[Action]:
        """What is new."""
        match event:
            case Started():
                yield from taking.started(event, self._book)
            case SignalHeard():
                yield from taking.heard(event, self._book)
                yield from self._weighed(event.signal)
            case TruthSeen():
                yield from taking.seen(event, self._book)
            case SchedulerLost():
                self.facts.lost = event.reason or "it gave no reason"
            case Performed():
                yield from taking.performed(event, self._book)
            case Probed():
                yield from taking.probed(event, self._book)
            case ProbesOffered():
                self.facts.probes[event.node] = event.probes
            case JobTold():
                yield from taking.told(event, self._book)
            case OwnerSeen():
                yield from taking.owned(event, self._book)
            case TenantsSeen():
                self.facts.tenants[event.node] = event.tenants
            case CapsSeen():
                taking.capped(event, self.facts)
            case Approve() | Reject() | Cordon() | Uncordon() | ChooseMode():
                yield from people.requested(event, self._book, self._rails)
            case Tick():
                pass
            case _:
                assert_never(event)

    def _weighed(self, signal: Signal) -> Iterator[Action]:
        """Why a finding that fires does not count, once."""
        why = dropped(signal, self.facts, self._rails) if signal.firing else None
        if signal.firing and self.facts.truth is not None and self.facts.node(signal.node) is None:
            why = NoEvidence(f"the scheduler knows no node {signal.node}")
        if why is None or self._held.get(signal.id) == why.why:
            return
        self._held[signal.id] = why.why
        yield Line("evidence", signal.node, f"{signal.kind} on {signal.node} does not count: {why.why}")
        if why.tell:
            yield from self._book.tell_all(f"evidence/{signal.id}", "warning", f"{signal.kind} on {signal.node}: a person should look", why.why, signal.node)

    def _settle(self) -> Iterator[Action]:
        """Nodes move as far as what is known takes them."""
        yield from asking.expire(self._book)
        yield from self._open()
        for node in sorted(self.facts.cases):
            yield from self._overdue(node)
            yield from self._quiet(node)
            for _ in range(MOVES_MOST):
                case = self.facts.cases.get(node)
                move = next_move(case, self.facts) if case is not None else None
                if case is None or move is None:
                    break
                yield from self._move(case, *move)
            else:
                raise AssertionError(f"{node} goes in circles")

    def _open(self) -> Iterator[Action]:
        """Cases of nodes that are accused."""
        for node in sorted(self.facts.signals.keys() - self.facts.cases.keys()):
            if self.facts.node(node) is None:  # one that the scheduler does not know cannot be taken out of it
                continue
            verdict = first_verdict(node, self.facts, self._rails)
            if verdict.accuses:
                yield from self._book.begin(node, Cause.ACCUSED, verdict.sentence)

    def _quiet(self, node: str) -> Iterator[Action]:
        """Since when nothing accuses it. A test that failed, or an operator's word, does not come from findings and does not end with them."""
        case = self.facts.cases[node]
        accused = fuse(admitted(case.signals, self.facts, self._rails)).accuses
        if accused != (case.quiet_since_s is None):
            yield from self._book.keep(replace(case, quiet_since_s=None if accused else self.facts.now_s))

    def _overdue(self, node: str) -> Iterator[Action]:
        """A test that nobody hears of any more could not be run; of what else is overdue a person is told."""
        case = self.facts.cases[node]
        for what, sentence in overdue(case, self.facts):
            if what not in self._late.setdefault(case.id, set()):
                self._late[case.id].add(what)
                yield Line("overdue", node, sentence)
                yield from self._book.tell(case, what, "warning", f"{node} needs a person", sentence)
        effect = self.facts.effects.get(test_key(case))
        if case.state in (State.CONFIRMING, State.TESTING) and effect is not None and self.facts.now_s - effect.at_s >= TEST_S:
            yield from taking.probed(Probed(test_key(case), node, None, f"no answer within {TEST_S / 60:.0f} min"), self._book)

    def _move(self, case: Case, cause: Cause, why: str) -> Iterator[Action]:
        if case.state is State.RETURNED and cause is Cause.ACCUSED:
            yield from self._book.begin(case.node, cause, why)
            return
        if cause is Cause.RESUMED_BY_OTHERS:
            yield from people.overrule(case, self._book)
        known = replace(case, tests=case.tests + 1) if case.state is State.TESTING else case  # nobody waits for the test that runs any more
        yield from self._book.move(known, cause, why)
        if TABLE[case.state, cause] is State.REPAIRING:
            yield from self._book.tell(case, "repair", "warning", f"{case.node} waits for repair", f"{why}. {advice_of(case)}")

    def _pursue_all(self) -> Iterator[Action]:
        """What should be done now, case by case in the order of their ids; what one leads to, the next already knows."""
        for node in sorted(self.facts.cases, key=lambda one: (self.facts.cases[one].opened_s, one)):
            verdict = verdict_of(self.facts.cases[node], self.facts, self._rails)
            for wish in tuple(wishes_of(self.facts.cases[node], verdict, self.facts)):
                yield from self._pursue(wish)

    def _pursue(self, wish: Wish) -> Iterator[Action]:
        ruling = judge(wish, self.facts, self._rails)
        if ruling.stop is not None:
            yield from self._hold(wish, ruling)
        elif asking.granted(wish, ruling, self._book):
            self._held.pop(wish.key, None)
            yield from perform(wish, self._book)
        else:
            yield from asking.ask(wish, ruling, self._book)

    def _hold(self, wish: Wish, ruling: Ruling) -> Iterator[Action]:
        """Said once, and again when the reason is another."""
        stop = ruling.stop
        assert stop is not None
        if stop.weight is Weight.LATCH:
            yield from asking.latch(wish, ruling.rail, stop.why, self._book)
        if stop.quiet or self._held.get(wish.key) == ruling.rail:
            return
        self._held[wish.key] = ruling.rail
        yield Line("hold", wish.subject, f"not now ({ruling.rail}): {wish.sentence}: {stop.why}", not wish.shadow)
        if stop.weight is Weight.NEVER:
            restart = wish.kind in (WishKind.REQUEUE, WishKind.CHECKPOINT)
            yield from self._book.tell(wish.case, wish.key, "warning", f"{wish.subject} needs a person", f"{wish.sentence}: {stop.why}", restart=restart)
        case = self.facts.cases.get(wish.node)
        if stop.cause is not None and case is not None and (case.state, stop.cause) in TABLE:
            yield from self._book.move(case, stop.cause, stop.why)
