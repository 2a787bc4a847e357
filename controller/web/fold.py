"""One tick may cap a hundred nodes for one reason: that is one line to read, not a hundred."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from gpuwarden.proto.control_pb2 import Action

SPELLED_OUT = 3


@dataclass(slots=True)
class Fold:
    """A ledger line and all the subjects that it was written about at that moment."""

    line: Action
    subjects: list[str] = field(default_factory=list)

    def who(self) -> str:
        """`n01, n02 and 6 more`."""
        if len(self.subjects) <= SPELLED_OUT:
            return ", ".join(self.subjects)
        return f"{', '.join(self.subjects[: SPELLED_OUT - 1])} and {len(self.subjects) - SPELLED_OUT + 1} more"


def fold(actions: Iterable[Action]) -> list[Fold]:
    """Neighbours that differ in nothing but their subject and evidence, in the order given (newest first)."""
    folds: list[Fold] = []
    for line in actions:
        if not folds or _story(folds[-1].line) != _story(line):
            folds.append(Fold(line))
        folds[-1].subjects.append(line.subject)
    return folds


def _story(line: Action) -> tuple[object, ...]:
    return line.unix_ns, line.kind, line.performed, line.reason, line.actor
