"""The session with the driver that sets floors, as its child process holds it."""

import math

from gpuwarden.agent.limiter.card import CardFloor
from gpuwarden.agent.limiter.cards_session import Session as CardsSession
from gpuwarden.agent.limiter.standing import enforces
from gpuwarden.agent.reading import Unsupported


class Session:
    """Each method may raise SessionOver."""

    def __init__(self) -> None:
        self._cards = CardsSession()

    def set_floors(self, floor_w: float) -> tuple[CardFloor, ...]:
        """Each card that the driver lists; one that is lost keeps no other from its floor."""
        return tuple(self._set_floor(card, floor_w) for card in self._cards.ids())

    def _set_floor(self, card: str, floor_w: float) -> CardFloor:
        try:
            known = self._cards.card(card)
        except Unsupported as why:
            return CardFloor(card, floor_w, math.nan, str(why))
        wanted_w = min(max(floor_w, known.min_w), known.max_w)
        (refused,) = self._cards.set_limits((card,), (wanted_w,))
        ((limits,), _) = self._cards.limits((card,))
        problem = "" if enforces(limits, wanted_w) else refused or f"does not enforce its floor of {wanted_w:.0f} W"
        return CardFloor(card, wanted_w, limits.requested_w, problem)
