"""The shape of every decider: events in, actions out, nothing touched."""

from dataclasses import dataclass
from enum import Enum
from typing import Protocol, TypeVar

Event_contra = TypeVar("Event_contra", contravariant=True)
Action = TypeVar("Action")


class Machine(Protocol[Event_contra, Action]):
    """Deterministic: no clock, no chance, no I/O, no environment. Actions are performed in the order of the list."""

    def step(self, now_s: float, event: Event_contra) -> list[Action]: ...


class Level(Enum):
    """How loudly a sentence is said."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Say:
    """An action of every machine: one sentence, with its numbers, for the log."""

    sentence: str
    level: Level = Level.INFO
