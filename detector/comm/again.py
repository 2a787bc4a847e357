"""What is named more often than not, turn after turn: one turn's word is chance, and so is one turn's silence."""

from collections.abc import Collection, Hashable
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

TURNS: Final = 3  # in which it is named more often than not, until it fires; it is over when it was named as often as it was not
MOST: Final = 4

Named = TypeVar("Named", bound=Hashable)


@dataclass(slots=True)
class Again(Generic[Named]):
    """Mutable: a turn after the other. `firing` after the newest."""

    firing: set[Named] = field(default_factory=set)
    _turns: dict[Named, int] = field(default_factory=dict)

    def turn(self, named: Collection[Named]) -> set[Named]:
        for one in {*named, *self._turns}:
            was = self._turns.get(one, 0)
            self._turns[one] = min(MOST, was + 1) if one in named else was - 1
        self._turns = {one: turns for one, turns in self._turns.items() if turns > 0}
        self.firing = {one for one, turns in self._turns.items() if turns >= TURNS or one in self.firing}
        return self.firing
