"""This node's cards as the limiter needs them: power, limits, setting limits. The driver is met in a child process, under deadlines."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from gpuwarden.agent.child import Child, ChildFailed, Hung
from gpuwarden.agent.limiter.card import Card, CardState
from gpuwarden.agent.limiter.standing import SAME_W
from gpuwarden.agent.nvml_loads import DriverLoads
from gpuwarden.agent.reading import SessionOver, Unsupported

SESSION: Final = "gpuwarden.agent.limiter.cards_session:locked"
POWER_S: Final = 0.1
READ_S: Final = 1.0
SET_S: Final = 5.0  # 10-20 ms a card behind a lock that all who set limits share


class Cards:
    """For one thread. Each call may raise Hung or ChildFailed; the next one starts a new child.

    Answers keep the order of `cards`, whatever place a card has in the driver's list later. `driver_loads` grows when the driver
    answers again after it went away, or has lost count of energy: limits are back at their default then.
    """

    def __init__(self) -> None:
        """Raises Unsupported where there is no card whose limits can be set, Hung where the driver does not answer."""
        self._child = Child(SESSION, types=(Card, CardState))
        self._loads = DriverLoads()
        self._went_away = False
        self.driver_loads = 1
        try:
            self.cards: tuple[Card, ...] = self._call("cards", deadline_s=READ_S)
        except Hung:
            self.close()
            raise
        except ChildFailed as why:
            self.close()
            raise Unsupported(why.message) if why.kind == Unsupported.__name__ else why from None
        self._ids = tuple(card.uuid for card in self.cards)
        self._enforced_w: tuple[float, ...] | None = None  # as `limits` last told
        self.limits_rose = False
        """Whether with the newest power some card's limit was higher than `limits` last told."""

    def next_power_w(self, interrupt: int) -> tuple[float, ...] | None:
        """W per card, ten times a second, NaN where one does not answer; None once the descriptor `interrupt` can be read."""
        with self._noting():
            answer: tuple[tuple[float, ...], tuple[float, ...]] | None = self._child.told(
                "watched", self._ids, every_s=POWER_S, deadline_s=READ_S, interrupt=interrupt
            )
        if answer is None:
            return None
        power_w, enforced_w = answer
        self.limits_rose = self._enforced_w is not None and any(map(_rose, enforced_w, self._enforced_w))
        return power_w

    def limits(self) -> tuple[CardState, ...]:
        """As the driver tells them now."""
        states: tuple[CardState, ...]
        states, energy_j = self._call("limits", self._ids, deadline_s=READ_S)
        self._enforced_w, self.limits_rose = tuple(card.enforced_w for card in states), False
        anew = self._loads.anew(energy_j)
        self.driver_loads += anew or self._went_away
        self._went_away = False
        return states

    def set_limits(self, limits_w: Sequence[float]) -> tuple[str, ...]:
        """W per card, brought into its range; '' or why the driver refused, per card. Silence is not yet success: read back."""
        in_range_w = tuple(min(max(w, card.min_w), card.max_w) for w, card in zip(limits_w, self.cards, strict=True))
        answer: tuple[str, ...] = self._call("set_limits", self._ids, in_range_w, deadline_s=SET_S)
        return answer

    def lock_clocks(self, clocks_hz: Sequence[float]) -> tuple[str, ...]:
        """Hz per card that its clock does not pass, 0 unlocks it; '' or why the driver refused, per card. Nobody can read a lock back."""
        answer: tuple[str, ...] = self._call("lock_clocks", self._ids, tuple(clocks_hz), deadline_s=SET_S)
        return answer

    def close(self) -> None:
        self._child.close()

    def _call(self, method: str, *arguments: object, deadline_s: float) -> Any:
        with self._noting():
            return self._child.call(method, *arguments, deadline_s=deadline_s)

    @contextmanager
    def _noting(self) -> Iterator[None]:
        """A driver that went away will have lost its limits."""
        try:
            yield
        except ChildFailed as why:
            self._went_away |= why.kind == SessionOver.__name__
            raise


def _rose(limit_w: float, before_w: float) -> bool:
    return limit_w > before_w + SAME_W or (math.isnan(before_w) and not math.isnan(limit_w))
