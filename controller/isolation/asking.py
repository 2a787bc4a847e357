"""What a person has to say before something is done: prepared acts that wait and expire, and an automation that has stopped."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from gpuwarden.controller.isolation.book import Book
from gpuwarden.controller.isolation.events import Action, Forget, Line
from gpuwarden.controller.isolation.judging import Ruling
from gpuwarden.controller.isolation.records import Answer, Mode, Question, WishKind, key_of
from gpuwarden.controller.isolation.wish import Wish

KEPT_S: Final = 7 * 86_400.0  # of answered ones: as long as the same evidence might bring the same question up
NEVER_EXPIRES_S: Final = float("inf")


def granted(wish: Wish, ruling: Ruling, book: Book) -> bool:
    """It may be done, or its "would have" said, without asking anybody now."""
    if wish.by:
        return True
    asks = bool(ruling.asks) or book.facts.mode(wish.node, wish.kind.action_class) is Mode.APPROVE
    question = book.facts.question_of(wish.key, _about(wish))
    return not asks or (question is not None and question.answer is Answer.APPROVED)


def ask(wish: Wish, ruling: Ruling, book: Book) -> Iterator[Action]:
    """Once for each act and evidence."""
    if book.facts.question_of(wish.key, _about(wish)) is not None:
        return
    why = "; ".join(ruling.asks) or "the mode is approve"
    sentence, now_s = f"{wish.sentence}: {why}", book.facts.now_s
    for older in [one for one in book.facts.questions.values() if one.key == wish.key and one.answer is Answer.OPEN]:
        yield from answer(older, Answer.EXPIRED, "controller", "the evidence has changed", book)
    id, kept = book.question_id()
    yield kept
    ends_s = NEVER_EXPIRES_S if wish.kind is WishKind.RESUME else now_s + book.facts.config.approval_s  # a node is not forgotten out there
    question = Question(id, wish.key, wish.case.id, sentence, _about(wish), now_s, ends_s, shadow=wish.shadow)
    yield Line("ask", wish.subject, f"{question.id}: {sentence}", not wish.shadow)
    yield from book.keep(question)
    if not wish.shadow:
        text = f"{sentence}. gpuwarden approve {question.id}, or gpuwarden reject {question.id}"
        yield from book.tell_all(f"question/{question.id}", "warning", f"{question.id}: {wish.subject} waits for an answer", text, wish.node)


def latch(wish: Wish, rail: str, why: str, book: Book) -> Iterator[Action]:
    """The automation stops. It goes on when a person approves of that."""
    id, kept = book.question_id()
    yield kept
    question = Question(id, f"latch/{rail}", "", why, "", book.facts.now_s, NEVER_EXPIRES_S, latch=rail, shadow=wish.shadow)
    yield Line("latch", rail, f"{question.id}: the automation stops: {why}", not wish.shadow)
    yield from book.keep(question)
    if not wish.shadow:
        text = f"{why}. Nothing is taken out until: gpuwarden approve {question.id}"
        yield from book.tell_all(f"question/{question.id}", "critical", f"isolation has stopped: {rail}", text)


def expire(book: Book) -> Iterator[Action]:
    """What nobody has answered in time, and what has gone with its case; answered ones are forgotten after a while."""
    now_s, cases = book.facts.now_s, {case.id for case in book.facts.cases.values()}
    for question in list(book.facts.questions.values()):
        gone = bool(question.case) and question.case not in cases
        if question.answer is Answer.OPEN and (gone or now_s >= question.expires_s):
            yield from answer(question, Answer.EXPIRED, "controller", "its node is no longer in question" if gone else "nobody answered", book)
        elif question.answer is not Answer.OPEN and (gone or now_s - question.answered_s > KEPT_S):
            del book.facts.questions[question.id]
            yield Forget(key_of(question))


def answer(question: Question, said: Answer, actor: str, why: str, book: Book) -> Iterator[Action]:
    yield Line("answer", question.id, f"{question.id} {said.value}{why and f' ({why})'}: {question.sentence}", not question.shadow, actor)
    yield from book.keep(replace(question, answer=said, answered_s=book.facts.now_s))
    yield from book.untell(f"question/{question.id}")


def _about(wish: Wish) -> str:
    """The evidence: with other evidence it is another question."""
    return " ".join(sorted({signal.kind + signal.part for signal in wish.verdict.signals}))

