"""A breaker's thermal state: dE/dt = (I/Ir)^2 - 1, E >= 0, trip at E >= K. E and K are in seconds; I/Ir is the load ratio.

K is from the lower edge of the maker's hot-start band, so the model trips no later than the breaker.
"""

from collections.abc import Iterable

UNKNOWN_SHARE = 0.999  # an unknown history counts as just below the trip


def after(heat: float, load_ratio: float, seconds: float) -> float:
    """E after `seconds` at a constant load ratio."""
    return max(0.0, heat + (load_ratio * load_ratio - 1.0) * seconds)


def peak(heat: float, phases: Iterable[tuple[float, float]]) -> float:
    """The highest E while the given (load ratio, seconds) phases pass."""
    highest = heat
    for load_ratio, seconds in phases:
        heat = after(heat, load_ratio, seconds)
        highest = max(highest, heat)
    return highest
