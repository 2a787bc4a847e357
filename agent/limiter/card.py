"""A card as its limiter knows it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Card:
    """What does not change while a driver runs."""

    uuid: str
    default_w: float
    min_w: float
    max_w: float
    clock_max_hz: float = 0.0  # that it can be locked to; 0: it cannot


@dataclass(frozen=True, slots=True)
class CardState:
    """Limits of one card as the driver tells them. NaN where it does not."""

    requested_w: float
    enforced_w: float


@dataclass(frozen=True, slots=True)
class CardFloor:
    """A card that was told to go to its floor. `problem` is '' where its driver confirms that it enforces no more."""

    card: str
    floor_w: float
    requested_w: float
    problem: str
