"""The door of all records of communication: what a field must be, and the words for one that is not."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

SHOWN_CHARS: Final = 50
MOST: Final = 2**63


class Bad(ValueError):
    """The field and the reason."""


def shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}..."


def mapping(value: object, field: str) -> Mapping[Any, Any]:
    if not isinstance(value, dict):
        raise Bad(f"{field}: is a {type(value).__name__}, should be a mapping")
    return value


def items(value: object, field: str) -> Sequence[object]:
    if not isinstance(value, list | tuple):
        raise Bad(f"{field}: is a {type(value).__name__}, should be a list")
    return value


def whole(value: object, field: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not -MOST < value < MOST:
        raise Bad(f"{field}: is {shown(value)}, should be a whole number")
    return value


def count(value: object, field: str) -> int:
    number = whole(value, field)
    if number < 0:
        raise Bad(f"{field}: is {number}, should be 0 or more")
    return number


def text(value: object, field: str) -> str:
    if not isinstance(value, str):
        raise Bad(f"{field}: is a {type(value).__name__}, should be text")
    return value


def word(value: object, field: str) -> str:
    if not text(value, field):
        raise Bad(f"{field}: is empty")
    return text(value, field)
