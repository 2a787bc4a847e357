"""A breaker as it truly is: dE/dt = (I/Ir)^2 - 1, E >= 0, trip at E >= K. E and K are in seconds; I/Ir is the load ratio.

It stands beside `controller.power.breaker` on purpose: what judges a decision must not reckon as the decision did.
"""


def after(heat: float, load_ratio: float, seconds: float) -> float:
    """E after `seconds` at a constant load ratio."""
    return max(0.0, heat + (load_ratio * load_ratio - 1.0) * seconds)
