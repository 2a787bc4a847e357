"""A wish and what the rails say to it become actions: the ledger line first, what a restart must know second, the act last."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final, assert_never

from gpuwarden.controller.isolation.book import Book
from gpuwarden.controller.isolation.events import (
    Act,
    Action,
    AskCheckpoint,
    Drain,
    Exclude,
    Line,
    Probe,
    Requeue,
    Resume,
)
from gpuwarden.controller.isolation.evidence import fuse
from gpuwarden.controller.isolation.facts import Facts
from gpuwarden.controller.isolation.holder import reason_for
from gpuwarden.controller.isolation.lifecycle import OUT, WATCHED, Cause, State
from gpuwarden.controller.isolation.records import (
    Case,
    Effect,
    EffectState,
    JobPast,
    Mode,
    Record,
    Restart,
    WishKind,
)
from gpuwarden.controller.isolation.signals import sort_of
from gpuwarden.controller.isolation.wish import Wish

KEPT: Final = 128  # of what a node or a job has been through, the newest; more than any rail asks for


def perform(wish: Wish, book: Book) -> Iterator[Action]:
    """The act, or its "would have" line: the same sentence."""
    facts = book.facts
    before = facts.effects.get(wish.key)
    yield Line(wish.kind.value, wish.subject, wish.sentence, not wish.shadow, wish.by or "controller")
    yield from book.keep(*_remembered(wish, facts))
    tries = before.tries + 1 if before is not None else 1
    state = EffectState.DONE if wish.shadow else EffectState.ORDERED
    yield from book.keep(
        Effect(wish.key, wish.kind, wish.case.id, wish.node, wish.job, wish.restarts, state, facts.now_s, tries, wish.shadow)
    )
    yield from _moved(wish, book)
    if wish.shadow:
        yield from _noticed(wish, book)
    else:
        yield act_of(wish, facts)


def act_of(wish: Wish, facts: Facts) -> Act:
    match wish.kind:
        case WishKind.DRAIN:
            return Drain(wish.key, wish.node, _reason(wish))
        case WishKind.RESUME:
            return Resume(wish.key, wish.node, wish.case.reason)
        case WishKind.PROBE:
            offered = facts.offered(wish.node)
            assert offered is not None, "else a rail holds it"
            return Probe(wish.key, wish.case.id, wish.node, offered.name, offered.needs_w, offered.deadline_s)
        case WishKind.CHECKPOINT:
            return AskCheckpoint(wish.key, wish.job)
        case WishKind.REQUEUE:
            return Requeue(wish.key, wish.job, wish.restarts, _sound_before_s(wish, facts))
        case WishKind.EXCLUDE:
            return Exclude(wish.key, wish.job, (wish.node,))
        case _:
            assert_never(wish.kind)


def _sound_before_s(wish: Wish, facts: Facts) -> float | None:
    """What the job has saved since may be wrong: memory errors on any of its nodes, those of this case that are over by now too."""
    job = facts.job(wish.job)
    signals = [*wish.case.signals, *(one for node in (job.nodes if job is not None else ()) for one in facts.signals.get(node, {}).values())]
    return min((one.since_s for one in signals if (sort := sort_of(one.kind)) is not None and sort.corrupts), default=None)


def _reason(wish: Wish) -> str:
    """Once given it stays: by it the node is known as ours."""
    return wish.case.reason or reason_for(wish.case.id, wish.verdict.sentence)


def _remembered(wish: Wish, facts: Facts) -> Iterator[Record]:
    """What outlives the case."""
    past = facts.past(wish.node)
    if wish.kind is WishKind.DRAIN and wish.case.state in WATCHED:
        if wish.shadow:
            yield replace(past, would_have_s=(*past.would_have_s, facts.now_s)[-KEPT:])
        else:
            yield replace(past, isolated_s=(*past.isolated_s, facts.now_s)[-KEPT:])
    elif wish.kind is WishKind.REQUEUE:
        job = facts.jobs.get(wish.job, JobPast(wish.job, wish.restarts, facts.now_s))
        restart = Restart(facts.now_s, wish.restarts, _accused(wish), job.step)
        if wish.shadow:
            yield replace(job, would_have=_with(job.would_have, restart))
        else:
            yield replace(job, by_us=_with(job.by_us, restart))


def _with(restarts: tuple[Restart, ...], newest: Restart) -> tuple[Restart, ...]:
    """An act that is tried again is one."""
    return (*(one for one in restarts if one.restarts != newest.restarts), newest)[-KEPT:]


def _accused(wish: Wish) -> tuple[str, ...]:
    others = (signal for signal in wish.verdict.signals if (sort := sort_of(signal.kind)) is not None and not sort.behaviour)
    sure = fuse(others, wish.case.failed_test, wish.case.ordered_by).sure
    return () if sure else (wish.node,)


def _moved(wish: Wish, book: Book) -> Iterator[Action]:
    """The node moves as the act is ordered."""
    case = book.facts.cases[wish.node]
    match wish.kind:
        case WishKind.DRAIN if case.state in WATCHED:
            yield from book.move(case, Cause.DRAIN_ORDERED, wish.verdict.sentence, **_as_taken_out(wish, book.facts))
        case WishKind.RESUME if case.state in OUT:
            yield from book.move(case, Cause.RETURN_ORDERED, wish.sentence, failed_test="")
        case WishKind.PROBE if case.state is State.SUSPECT and not wish.shadow:
            yield from book.move(case, Cause.TEST_BEGUN, wish.sentence)


def _as_taken_out(wish: Wish, facts: Facts) -> dict[str, Any]:
    """A test that runs is not waited for any more: the next one has another key."""
    tests = facts.cases[wish.node].tests + 1
    return {"reason": _reason(wish), "shadow": wish.shadow, "passed": None, "jobs": facts.jobs_on(wish.node), "tests": tests}


def _noticed(wish: Wish, book: Book) -> Iterator[Action]:
    if book.facts.mode(wish.node, wish.kind.action_class) is Mode.NOTIFY:
        yield from book.tell(wish.case, wish.key, "warning", f"{wish.node}: would {wish.kind.value}", wish.sentence)


def needs_approval(wish: Wish, book: Book) -> bool:
    return book.facts.mode(wish.node, wish.kind.action_class) is Mode.APPROVE and not wish.by


def advice_of(case: Case) -> str:
    """What the findings say is to be done, the driver's own recovery action first (NVIDIA puts it before any table of XIDs)."""
    firing = sorted((signal for signal in case.signals if signal.firing and signal.advice), key=lambda one: one.kind != "gpu_recovery_action")
    return " ".join(dict.fromkeys(signal.advice for signal in firing)) or "Look at what accuses it."
