"""What operators ask for: answered, written down, and then done like all else. Their word goes through every rail that does not merely ask for it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, assert_never

from gpuwarden.controller.isolation import asking
from gpuwarden.controller.isolation.book import Book
from gpuwarden.controller.isolation.events import (
    Action,
    Answered,
    Approve,
    ChooseMode,
    Cordon,
    Forget,
    Line,
    Reject,
    Request,
    Uncordon,
)
from gpuwarden.controller.isolation.facts import Facts
from gpuwarden.controller.isolation.holder import Holder, holder_of, reason_for
from gpuwarden.controller.isolation.judging import Rails, judge, verdict_of
from gpuwarden.controller.isolation.lifecycle import OUT, WATCHED, Cause, State
from gpuwarden.controller.isolation.records import Answer, Case, Chosen, Question, WishKind
from gpuwarden.controller.isolation.wish import Wish

OVERRULED_MOST: Final = 64


@dataclass(frozen=True, slots=True)
class No(Exception):
    """Why a request is refused, in the words of google.rpc."""

    code: str
    reason: str
    sentence: str


def requested(request: Request, book: Book, rails: Rails) -> Iterator[Action]:
    """What follows at once, and the answer."""
    try:
        said, actions = _checked(request, book, rails)
    except No as no:
        yield Answered(request.token, False, no.code, no.reason, no.sentence)
        return
    if not request.dry_run:
        yield from actions
    yield Answered(request.token, True, "", "", said)


def _checked(request: Request, book: Book, rails: Rails) -> tuple[str, Iterator[Action]]:
    """What is, or would be, done, and the doing of it, not yet begun; No if it cannot be."""
    match request:
        case Approve():
            question = _open_question(request.id, book.facts)
            return f"approved: {question.sentence}", asking.answer(question, Answer.APPROVED, request.actor, "", book)
        case Reject():
            question = _open_question(request.id, book.facts)
            if question.latch:
                raise No("FAILED_PRECONDITION", "STOPPED", f"id: {question.id} is a stop of the automation: it goes on when that is approved, and stays until then")
            return f"rejected: {question.sentence}", _reject(question, request.actor, book)
        case Cordon():
            return _may_cordon(request, book.facts, rails), _cordon(request, book)
        case Uncordon():
            return _may_uncordon(request, book.facts), _uncordon(request, book)
        case ChooseMode():
            return _may_choose(request, book.facts), _choose(request, book)
        case _:
            assert_never(request)


def _open_question(id: str, facts: Facts) -> Question:
    question = facts.questions.get(id)
    if question is None:
        raise No("NOT_FOUND", "UNKNOWN_QUESTION", f"id: nothing with id {id!r} waits for an answer")
    if question.answer is not Answer.OPEN:
        raise No("FAILED_PRECONDITION", "ANSWERED", f"id: {id} is {question.answer.value} already")
    return question


def _reject(question: Question, actor: str, book: Book) -> Iterator[Action]:
    """A no to a drain is a no to its evidence; a no to anything else is a no to that act."""
    yield from asking.answer(question, Answer.REJECTED, actor, "", book)
    case = next((case for case in book.facts.cases.values() if case.id == question.case), None)
    if case is not None and case.state in WATCHED and question.key.startswith(WishKind.DRAIN.value):
        yield from overrule(case, book)
        yield from book.move(case, Cause.OVERRULED, f"{actor} says no")


def overrule(case: Case, book: Book) -> Iterator[Action]:
    """What fires on it is not brought up again; what is found later is."""
    past = book.facts.past(case.node)
    firing = [signal.id for signal in case.signals if signal.firing and signal.id not in past.overruled]
    yield from book.keep(replace(past, overruled=(*past.overruled, *firing)[-OVERRULED_MOST:]))


def _may_cordon(request: Cordon, facts: Facts, rails: Rails) -> str:
    node = facts.node(request.node)
    if node is None:
        raise No("NOT_FOUND", "UNKNOWN_NODE", f"node: the scheduler tells of no node {request.node!r}")
    if holder_of(node) is Holder.OTHERS:
        raise No("FAILED_PRECONDITION", "HELD_BY_OTHERS", f"node: somebody else holds {request.node}: {node.reason}")
    case = facts.cases.get(request.node)
    if case is not None and case.state in OUT and not case.shadow:
        return f"{request.node} is out already, {case.state.value} ({case.id}): it will not come back by itself"
    case = replace(case or Case("q0", request.node, State.HEALTHY, facts.now_s, ""), ordered_by=request.actor)
    ruling = judge(Wish(WishKind.DRAIN, case, verdict_of(case, facts, rails), False, by=request.actor), facts, rails)
    later = f", but not now ({ruling.rail}): {ruling.stop.why}" if ruling.stop is not None else ""
    return f"{request.node} takes no new work; what runs there goes on{later}"


def _cordon(request: Cordon, book: Book) -> Iterator[Action]:
    yield Line("cordon", request.node, f"ordered: {request.reason or 'no reason given'}", True, request.actor)
    case = book.facts.cases.get(request.node)
    if case is not None and case.shadow:
        yield from forget_shadow(case, book)
        case = book.facts.cases[request.node]
    if case is None or case.state is State.RETURNED:
        yield from book.begin(request.node, Cause.ORDERED, f"{request.actor}: {request.reason}", ordered_by=request.actor)
        case = book.facts.cases[request.node]
    if case.state in OUT:
        yield from book.keep(replace(case, ordered_by=request.actor, released_by=""))
        return
    yield from book.keep(replace(case, ordered_by=request.actor, reason=reason_for(case.id, f"{request.actor}: {request.reason}")))


def _may_uncordon(request: Uncordon, facts: Facts) -> str:
    case = facts.cases.get(request.node)
    if case is not None and case.state is State.FOREIGN:
        node = facts.node(request.node)
        raise No("FAILED_PRECONDITION", "HELD_BY_OTHERS", f"node: somebody else holds {request.node}: {node.reason if node is not None else case.cause}")
    ours = case is not None and ((case.state in OUT and not case.shadow) or (case.state in WATCHED and bool(case.ordered_by)))
    if not ours:
        raise No("FAILED_PRECONDITION", "NOT_OUT", f"node: {request.node} is not out by our hand, it is {facts.state(request.node).value}")
    return f"{request.node} takes work again; what accuses it now is not brought up again"


def _uncordon(request: Uncordon, book: Book) -> Iterator[Action]:
    case = book.facts.cases[request.node]
    yield Line("uncordon", case.node, f"ordered ({case.id})", True, request.actor)
    yield from overrule(case, book)
    if case.state in WATCHED:
        yield from book.move(case, Cause.OVERRULED, f"{request.actor} takes the cordon back")
    else:
        yield from book.keep(replace(case, released_by=request.actor, ordered_by=""))


def _may_choose(request: ChooseMode, facts: Facts) -> str:
    known = [group.name for group in facts.config.groups]
    if request.group not in known:
        raise No("NOT_FOUND", "UNKNOWN_GROUP", f"group: there is no group {request.group!r}; there are {', '.join(known) or 'none'}")
    return f"{request.group}: {request.action_class.value} is set to {request.mode.value}"


def _choose(request: ChooseMode, book: Book) -> Iterator[Action]:
    """What was only "would have" is decided anew."""
    yield Line("mode", request.group, f"{request.action_class.value} set to {request.mode.value}", True, request.actor)
    yield from book.keep(Chosen(request.group, request.action_class, request.mode))
    for case in list(book.facts.cases.values()):
        if book.facts.groups.get(case.node) == request.group:
            yield from forget_shadow(case, book)


def forget_shadow(case: Case, book: Book) -> Iterator[Action]:
    for key in [key for key, effect in book.facts.effects.items() if effect.case == case.id and effect.shadow]:
        del book.facts.effects[key]
        yield Forget(f"effect/{key}")
    for question in list(book.facts.questions.values()):
        if question.case == case.id and question.answer is Answer.OPEN:
            yield from asking.answer(question, Answer.EXPIRED, "controller", "the mode has changed", book)
    if case.shadow:
        yield from book.move(case, Cause.MODE_CHANGED, "the mode has changed: decided anew", shadow=False, reason="")
