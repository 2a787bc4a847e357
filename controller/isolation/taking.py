"""What events teach: the facts as they are after them, and the records that follow at once."""

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Final

from gpuwarden.controller.isolation.book import Book
from gpuwarden.controller.isolation.events import (
    Action,
    CapsSeen,
    EndPower,
    Forget,
    JobTold,
    Line,
    OwnerSeen,
    Performed,
    Probed,
    SignalHeard,
    Started,
    TruthSeen,
)
from gpuwarden.controller.isolation.facts import Capped, Facts
from gpuwarden.controller.isolation.holder import KILL_FAILED, Holder, case_of, holder_of
from gpuwarden.controller.isolation.lifecycle import TABLE, Cause, State
from gpuwarden.controller.isolation.overdue import SEEN_S
from gpuwarden.controller.isolation.records import Activity, Case, Effect, EffectState, JobPast, WishKind
from gpuwarden.controller.isolation.signals import Scope, Signal
from gpuwarden.controller.isolation.wish import test_key
from gpuwarden.controller.schedulers.scheduler import Availability, Phase, Truth
from gpuwarden.core.machine import Level, Say

SIGNALS_MOST: Final = 64  # of one node at a time: more tell nothing new
NODES_MOST: Final = 10_000
FAILED_KEPT: Final = 16
JOB_KEPT_S: Final = 86_400.0  # after the scheduler has forgotten it: the longest window of a rail
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}")


def started(event: Started, book: Book) -> Iterator[Action]:
    """Of what was under way nobody can tell here what came of it: the scheduler's truth will."""
    for record in event.records:
        book.facts.put(record)
    for case in book.facts.cases.values():
        book.facts.signals[case.node] = {signal.id: signal for signal in case.signals if signal.firing}
    for effect in list(book.facts.effects.values()):
        if effect.state is EffectState.ORDERED:
            yield from book.keep(replace(effect, state=EffectState.UNKNOWN, said="the controller was restarted meanwhile"))


def heard(event: SignalHeard, book: Book) -> Iterator[Action]:
    """What fires is known by node and id. What has ended stays in its case, as ended."""
    signal, facts = event.signal, book.facts
    if signal.scope is Scope.JOB:  # it accuses no node, and people are told of it as of any finding
        return
    firing = facts.signals.setdefault(signal.node, {}) if len(facts.signals) < NODES_MOST else facts.signals.get(signal.node, {})
    if not signal.firing:
        firing.pop(signal.id, None)
        yield from book.untell(f"evidence/{signal.id}")
        if not firing:
            facts.signals.pop(signal.node, None)
    elif signal.id in firing or len(firing) < SIGNALS_MOST:
        firing[signal.id] = signal
    else:
        yield Say(f"{signal.node}: {len(firing)} findings fire already, {signal.kind} is left out", Level.WARNING)
        return
    case = facts.cases.get(signal.node)
    if case is not None and case.state is not State.FOREIGN:
        known = {one.id: one for one in case.signals}
        if signal.firing or signal.id in known:
            before = known.get(signal.id)
            known[signal.id] = signal
            if before is None or before.firing != signal.firing:
                yield from book.keep(replace(case, signals=tuple(known.values())[-SIGNALS_MOST:]))


def seen(event: TruthSeen, book: Book) -> Iterator[Action]:
    """What is older than what is known already is left out; so is a node whose name cannot be one."""
    facts = book.facts
    if event.asked_s < facts.truth_asked_s:
        return
    nodes = {name: node for name, node in event.truth.nodes.items() if _may_be_named(name)}
    if strange := sorted(set(event.truth.nodes) - set(nodes)):
        yield Say(f"the scheduler tells of {len(strange)} nodes whose names cannot be: {strange[0]!r}", Level.WARNING)
    facts.truth, facts.truth_asked_s, facts.lost = Truth(nodes, event.truth.jobs), event.asked_s, ""
    yield from _jobs(book)
    yield from _outcomes(book)
    for name, node in sorted((name, node) for name, node in nodes.items() if node.availability is not Availability.AVAILABLE or name in facts.signals):
        killed = node.availability is not Availability.AVAILABLE and node.reason.startswith(KILL_FAILED)
        if killed != (f"kill/{name}" in facts.signals.get(name, {})):
            yield from heard(SignalHeard(_kill_failed(name, facts, firing=killed)), book)
        if holder_of(node) is Holder.US:
            yield from _found(name, node.reason, book)
        elif holder_of(node) is Holder.OTHERS and name not in facts.cases:
            case = Case("", name, State.HEALTHY, facts.now_s, "")
            yield from book.move(case, Cause.HELD_BY_OTHERS, f"somebody else holds it: {node.reason}")


@lru_cache(maxsize=NODES_MOST)
def _may_be_named(name: str) -> bool:
    return _NAME.fullmatch(name) is not None


def _kill_failed(node: str, facts: Facts, *, firing: bool) -> Signal:
    return Signal(
        f"kill/{node}", "scheduler_kill_failed", node, Scope.NODE, "", firing, facts.now_s,
        "a process outlived SIGKILL", advice="Look for a process in state D, then reboot the node.",
    )


def _found(name: str, reason: str, book: Book) -> Iterator[Action]:
    """Ours, and of a quarantine that we do not know: of an earlier ledger. A person gives it back."""
    case, id = book.facts.cases.get(name), case_of(reason)
    if case is not None and ((case.state, Cause.FOUND) not in TABLE or case.id == id):
        return
    numbers = book.facts.numbers
    if int(id[1:]) > numbers.case:
        yield from book.keep(replace(numbers, case=int(id[1:])))
    now_s = book.facts.now_s
    before = case or Case(id, name, State.HEALTHY, now_s, "", opened_s=now_s)
    yield from book.move(
        replace(before, id=id), Cause.FOUND, f"the scheduler holds it for {reason!r}, of which the ledger knows nothing",
        reason=reason, ordered_by="an earlier ledger", released_by="", shadow=False,
    )


def _jobs(book: Book) -> Iterator[Action]:
    """Since when each runs, and how often it was started anew."""
    facts = book.facts
    assert facts.truth is not None
    for job in facts.truth.jobs.values():
        past = facts.jobs.get(job.job)
        if job.phase is Phase.RUNNING and (past is None or past.restarts != job.restarts):
            begun = JobPast(job.job, job.restarts, facts.now_s)
            kept = replace(begun, by_us=past.by_us, would_have=past.would_have, owner=past.owner, step=past.step) if past is not None else begun
            yield from book.keep(kept)
    for name in [name for name in facts.jobs if name not in facts.truth.jobs]:
        newest_s = max((one.at_s for one in (*facts.jobs[name].by_us, *facts.jobs[name].would_have)), default=facts.jobs[name].running_since_s)
        if facts.now_s - newest_s > JOB_KEPT_S:
            del facts.jobs[name]
            yield Forget(f"job/{name}")


def _outcomes(book: Book) -> Iterator[Action]:
    """What the truth tells of acts of which nothing else has told."""
    for effect in list(book.facts.effects.values()):
        waits = effect.state in (EffectState.UNKNOWN, EffectState.ORDERED, EffectState.LATER) and not effect.shadow
        if waits and book.facts.truth_asked_s > effect.at_s and _is_so(effect, book.facts):
            yield from book.keep(replace(effect, state=EffectState.DONE, said="the scheduler shows it"))
        elif _came_to_nothing(effect, book.facts):
            yield from book.keep(replace(effect, state=EffectState.UNKNOWN, said="the scheduler still shows it out, for our reason"))


def _came_to_nothing(effect: Effect, facts: Facts) -> bool:
    """A return that was said to be done. It is safe to ask again: it is refused unless the node is still out for our very reason."""
    case, node = facts.cases.get(effect.node), facts.node(effect.node)
    returned = effect.kind is WishKind.RESUME and effect.state is EffectState.DONE and not effect.shadow
    late = facts.truth_asked_s - effect.at_s > SEEN_S
    return returned and late and case is not None and node is not None and bool(case.reason) and node.reason == case.reason


def _is_so(effect: Effect, facts: Facts) -> bool:
    node, job = facts.node(effect.node), facts.job(effect.job)
    match effect.kind:
        case WishKind.DRAIN:
            return node is not None and case_of(node.reason) == effect.case
        case WishKind.RESUME:
            return node is not None and node.availability is Availability.AVAILABLE
        case WishKind.REQUEUE:
            return job is not None and (job.restarts > effect.restarts or job.phase in (Phase.PENDING, Phase.HELD))
        case WishKind.EXCLUDE:
            return job is not None and effect.node in job.excluded
        case WishKind.CHECKPOINT | WishKind.PROBE:
            return effect.state is EffectState.UNKNOWN  # not asked twice: the grace runs, and a test has a deadline
    return False


def performed(event: Performed, book: Book) -> Iterator[Action]:
    """Of an act that is known, and still open."""
    effect = book.facts.effects.get(event.key)
    if effect is None or effect.state not in (EffectState.ORDERED, EffectState.UNKNOWN):
        yield Say(f"an outcome of {event.key} comes too late and is ignored: {event.outcome.value}")
        return
    state = EffectState(event.outcome.value)
    yield Line("outcome", effect.job or effect.node, f"{event.key}: {state.value}" + (f": {event.said}" if event.said else ""), state is EffectState.DONE)
    yield from book.keep(replace(effect, state=state, at_s=book.facts.now_s if state in (EffectState.UNKNOWN, EffectState.LATER) else effect.at_s, said=event.said))


def probed(event: Probed, book: Book) -> Iterator[Action]:
    """A test is through. One of an older quarantine, or that nobody waits for any more, is ignored."""
    case, now_s = book.facts.cases.get(event.node), book.facts.now_s
    effect = book.facts.effects.get(event.key)
    if effect is not None and (effect.kind, effect.node) == (WishKind.PROBE, event.node):
        yield EndPower(event.key)
    if case is None or event.key != test_key(case) or case.state not in (State.CONFIRMING, State.TESTING):
        yield Say(f"a test of {event.node} ({event.key}) comes too late and is ignored: {event.said}")
        return
    tested = replace(case, tested_s=now_s, tests=case.tests + 1)
    match case.state, event.passed:
        case State.CONFIRMING, False:
            yield from book.move(tested, Cause.TEST_FAILED, event.said, failed_test=event.said or "a test failed")
        case State.CONFIRMING, True:
            yield from book.move(tested, Cause.TEST_PASSED, event.said)
        case State.CONFIRMING, None:
            yield from book.move(tested, Cause.TEST_IMPOSSIBLE, event.said)
        case State.TESTING, False:
            past = book.facts.past(case.node)
            yield from book.keep(replace(past, failed_tests_s=(*past.failed_tests_s, now_s)[-FAILED_KEPT:]))
            yield from book.move(tested, Cause.TEST_FAILED, event.said, failed_test=event.said or "a test failed", passed=False)
        case State.TESTING, _:
            yield Line("node", case.node, f"tested ({case.id}): {event.said}")
            yield from book.keep(replace(tested, passed=event.passed))


def told(event: JobTold, book: Book) -> Iterator[Action]:
    """Of the job as it runs now; a word of the run before is ignored. Not kept: it is told again soon."""
    past = book.facts.jobs.get(event.job)
    if past is None or past.restarts != event.restarts:
        yield Say(f"a word of job {event.job} after {event.restarts} restarts is ignored: it is not the run that is known")
        return
    activity = past.activity if event.activity is Activity.UNKNOWN else event.activity  # its checkpoints say nothing of that
    since_s = past.activity_since_s if past.activity is activity else book.facts.now_s
    checkpointed_s = past.checkpointed_s if event.checkpointed_s is None else max(past.checkpointed_s, event.checkpointed_s)
    step = past.step if event.step is None else event.step
    book.facts.put(replace(past, activity=activity, activity_since_s=since_s, step=step, checkpointed_s=checkpointed_s))


def owned(event: OwnerSeen, book: Book) -> Iterator[Action]:
    past = book.facts.jobs.get(event.job)
    if past is not None and (past.owner, past.gave_up) != (event.owner, event.gave_up):
        yield from book.keep(replace(past, owner=event.owner, gave_up=event.gave_up))


def capped(event: CapsSeen, facts: Facts) -> None:
    now_s = facts.now_s
    cap = facts.caps.setdefault(event.node, Capped(now_s))
    holds = cap.since_s is not None and cap.until_s is None
    if event.capped and not holds:
        cap.since_s, cap.until_s = now_s, None
    elif holds and not event.capped:
        cap.until_s = now_s
