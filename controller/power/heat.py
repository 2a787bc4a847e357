"""The thermal state of one breaker: dE/dt = (I/Ir)^2 - 1, E >= 0, trip at E >= K. E and K are in seconds; I/Ir is the load ratio.

K is from the lower edge of the maker's hot-start band, so the model trips no later than the breaker. `breaker` has many at once.
"""


def after(heat: float, load_ratio: float, seconds: float) -> float:
    """E after `seconds` at a constant load ratio."""
    return max(0.0, heat + (load_ratio * load_ratio - 1.0) * seconds)
