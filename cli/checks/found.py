"""What a check says."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from gpuwarden.cli.checks.place import Place


class Outcome(Enum):
    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"
    ABSENT = "not applicable"


@dataclass(frozen=True, slots=True)
class Found:
    """One sentence with its numbers; `then` is the line to type next."""

    outcome: Outcome
    sentence: str
    then: str = ""


Check: TypeAlias = Callable[[Place], Iterable[Found]]


def ok(sentence: str) -> Found:
    return Found(Outcome.OK, sentence)


def warning(sentence: str, then: str) -> Found:
    return Found(Outcome.WARNING, sentence, then)


def wrong(sentence: str, then: str) -> Found:
    return Found(Outcome.WRONG, sentence, then)


def absent(sentence: str) -> Found:
    return Found(Outcome.ABSENT, sentence)
