"""What a profile sets, point by point: shares of the card's highest clock, or of its default limit."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gpuwarden.agent.profile.card import Profiled

CLOCK_STEP_HZ: Final = 15e6  # clocks of NVIDIA's data-centre cards are multiples
CLOCK_RATIOS: Final = (1.0, 0.926, 0.904, 0.85, 0.787, 0.7, 0.6, 0.5)  # POLCA's (ASPLOS'24) among them
LIMIT_RATIOS: Final = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)


@dataclass(frozen=True, slots=True)
class Point:
    """Neither is set where it is 0."""

    ratio: float
    clock_hz: float = 0.0
    limit_w: float = 0.0


def clock_points(card: Profiled, ratios: Sequence[float] = CLOCK_RATIOS) -> tuple[Point, ...]:
    """1 is the card unlocked."""
    return tuple(Point(ratio, clock_hz=0.0 if ratio >= 1.0 else snapped_hz(ratio * card.clock_max_hz)) for ratio in ratios)


def limit_points(card: Profiled, ratios: Sequence[float] = LIMIT_RATIOS) -> tuple[Point, ...]:
    """Those that are in the card's range; 1 is its default."""
    wanted_w = [(ratio, round(ratio * card.default_w)) for ratio in ratios]
    return tuple(Point(ratio, limit_w=float(w)) for ratio, w in wanted_w if card.min_w <= w <= card.max_w)


def snapped_hz(clock_hz: float) -> float:
    return max(1, round(clock_hz / CLOCK_STEP_HZ)) * CLOCK_STEP_HZ
