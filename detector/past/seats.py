"""Which of a node's cards is which column of a block: by their ids, and a new card takes the place of one that is gone."""

from collections.abc import Iterator

import numpy as np

from gpuwarden.detector.past.features import CARDS
from gpuwarden.detector.past.piece import Integers, Names


class Seats:
    """The cards of one node. Those that are there from the beginning sit in the order of their ids."""

    def __init__(self) -> None:
        self._card_of: dict[str, int] = {}
        self._seen: list[int] = []  # by card, the minute in which the one that sits there was seen last
        self.without: set[str] = set()

    @property
    def cards(self) -> tuple[str, ...]:
        """Who sits there now, by card."""
        return tuple(sorted(self._card_of, key=self._card_of.__getitem__))

    def seat(self, device_id: Names, minute: Integers) -> Iterator[tuple[str, int]]:
        """(id, card) for the cards of an hour; hours come in order of time. Without a seat: what is more than CARDS at once."""
        names, of = np.unique(device_id.astype(np.str_), return_inverse=True)
        spans = {name: (int(minute[of == i].min()), int(minute[of == i].max())) for i, name in enumerate(names.tolist())}
        for name, (_, last) in spans.items():
            if name in self._card_of:
                card = self._card_of[name]
                self._seen[card] = max(self._seen[card], last)
        for name, (first, last) in sorted(spans.items(), key=lambda one: (one[1][0], one[0])):
            if name not in self._card_of:
                self._take(name, first, last)
            if name in self._card_of:
                yield name, self._card_of[name]

    def _take(self, name: str, first: int, last: int) -> None:
        if len(self._seen) < CARDS:
            self._card_of[name] = len(self._seen)
            self._seen.append(last)
            return
        free = [card for card, seen in enumerate(self._seen) if seen < first]
        if not free:
            self.without.add(name)
            return
        self._card_of = {other: card for other, card in self._card_of.items() if card != free[0]} | {name: free[0]}
        self._seen[free[0]] = last
