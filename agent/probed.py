"""What a test of this node is called, and what came of it."""

from dataclasses import dataclass
from enum import Enum


class Outcome(Enum):
    """Of a test. Numbers are those of `ProbeOutcome`."""

    PASSED = 1
    FAILED = 2
    IMPOSSIBLE = 3  # it could not be run, which says nothing of the node
    DEADLINE = 4


@dataclass(frozen=True, slots=True)
class Figure:
    """A number with a name that a person understands."""

    name: str
    value: float
    unit: str
    expected: float | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """`said` is one sentence. `slow`: it failed for nothing but its pace, which is no failure where power was short."""

    outcome: Outcome
    said: str
    figures: tuple[Figure, ...] = ()
    slow: bool = False
    took_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Offered:
    """A test that may be asked for. `needs_w` is of one GPU: it begins once the limits of all are this high."""

    name: str
    harmless: bool
    needs_w: float
    deadline_s: float


def impossible(said: str) -> Result:
    return Result(Outcome.IMPOSSIBLE, said)
