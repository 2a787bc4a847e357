"""Clock locks as a limiter keeps them: what is wanted is ordered until the driver has taken it, and once more after it was loaded anew.

A lock keeps peaks small that are over before a power limit answers; nothing that must hold rests on one. No driver tells what is locked.
"""

import math
from collections.abc import Iterator, Sequence

from gpuwarden.agent.limiter.card import Card
from gpuwarden.agent.limiter.events import Action, ClocksLocked, LockClocks
from gpuwarden.core.machine import Level, Say

RETRY_S = 0.5


class Clocks:
    """Hz per card, 0 unlocked. `begun`: a limiter that was in auto before may have left locks behind, which are then taken back."""

    def __init__(self, cards: Sequence[Card], begun: bool) -> None:
        self._cards = cards
        self._max_hz = tuple(card.clock_max_hz for card in cards)
        self._unlocked = (0.0,) * len(cards)
        self._wanted_hz: tuple[float, ...] = self._unlocked
        self._taken_hz: tuple[float, ...] | None = None if begun and self.max_hz else self._unlocked
        self._ordered_s = -math.inf
        self._refusal = ""

    @property
    def max_hz(self) -> float:
        """That every card can be locked to; 0 where one cannot, or has refused."""
        return min(self._max_hz)

    @property
    def locked_hz(self) -> tuple[float, ...]:
        """As last taken; empty where none is locked."""
        return self._taken_hz if self._taken_hz is not None and any(self._taken_hz) else ()

    def want(self, clocks_hz: Sequence[float]) -> None:
        """Empty: unlocked. A node with a card that cannot be locked is left alone: its ranks wait for each other."""
        wanted_hz = tuple(min(hz, self.max_hz) for hz in clocks_hz) or self._unlocked
        if wanted_hz != self._wanted_hz:
            self._wanted_hz, self._ordered_s = wanted_hz, -math.inf

    def order(self, now_s: float) -> Iterator[Action]:
        """What the driver has yet to take."""
        if self._wanted_hz != self._taken_hz and now_s - self._ordered_s >= RETRY_S:
            self._ordered_s = now_s
            yield LockClocks(self._wanted_hz)

    def locked(self, event: ClocksLocked) -> Iterator[Action]:
        """What the driver says to an order. A card that refuses is not asked again until the driver is loaded anew."""
        self._taken_hz, self._ordered_s = event.clocks_hz, -math.inf
        refusal = next((f"card {place}: {why}" for place, why in enumerate(event.refused) if why), "")
        if refusal:
            self._max_hz = tuple(0.0 if why else hz for hz, why in zip(self._max_hz, event.refused, strict=True))
            self.want(self._wanted_hz)
        if refusal and refusal != self._refusal:
            yield Say(f"clocks cannot be locked: {refusal}", Level.WARNING)
        self._refusal = refusal or self._refusal

    def lost(self) -> None:
        """The driver was loaded anew: it has forgotten them, and may refuse none."""
        self._taken_hz, self._max_hz = self._unlocked, tuple(card.clock_max_hz for card in self._cards)
