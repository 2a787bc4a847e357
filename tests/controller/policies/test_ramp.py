"""Training rises by so much a second, whatever it fell by; what runs on is not held back."""

from collections.abc import Callable

import numpy as np
from fakes.views import row_of, seen

from gpuwarden.controller.policies.ramp import begin
from gpuwarden.controller.power.level import Watts

RAMP_W_PER_S = 6000.0
DOMAIN = row_of(("high", 8, "training"), ("high", 4, "inference"), rating_w=200e3)
TRAINS = np.arange(12) < 8


def draws(wanted_w: Callable[[float], float], seconds: float, ramp_w_per_s: float = RAMP_W_PER_S) -> tuple[list[float], list[Watts]]:
    """What the training nodes draw in all, ten times a second, and the caps."""
    ramp, caps_w = begin(1), np.full(12, np.inf)
    drawn_w, caps = list[float](), list[Watts]()
    for step in range(round(seconds * 10)):
        power_w = np.minimum(np.where(TRAINS, wanted_w(step / 10), 3000.0), caps_w)
        view = seen(DOMAIN, power_w, ramp_w_per_s=ramp_w_per_s)
        ramp = ramp.follow(step / 10, view)
        caps_w = ramp.caps_w(view)
        drawn_w.append(1.155 * float(power_w[TRAINS].sum()))
        caps.append(caps_w)
    return drawn_w, caps


def steepest_w(drawn_w: list[float], from_s: float) -> float:
    """The largest rise within a second."""
    drawn = np.array(drawn_w[round(from_s * 10) :])
    return max(float((drawn[lag:] - drawn[:-lag]).max()) for lag in range(1, 10))


def job(now_s: float) -> float:
    """Its checkpoint draws what the floor lets be at any time."""
    return 1600.0 if 20.0 <= now_s % 60.0 < 26.0 else 5000.0


def test_after_a_checkpoint_power_rises_by_a_ramp_and_is_all_back() -> None:
    free, _ = draws(job, 60.0, np.inf)
    slowed, _ = draws(job, 60.0)
    assert steepest_w(free, 20.0) > 30e3
    assert steepest_w(slowed, 20.0) <= RAMP_W_PER_S * 1.01
    assert max(slowed[round(26.0 * 10) : round(36.0 * 10)]) == max(free), "31 kW come back in less than ten seconds"


def test_the_dips_of_an_iteration_move_no_limit() -> None:
    _, caps = draws(lambda now_s: 5000.0 - 900.0 * (now_s % 4.0 < 0.5), 60.0)
    assert np.array_equal(np.array(caps)[20], np.array(caps)[-1])


def test_all_training_nodes_are_held_alike_and_nobody_else() -> None:
    _, caps = draws(job, 60.0)
    assert all(np.ptp(cap[TRAINS]) == 0.0 for cap in caps if np.isfinite(cap[TRAINS]).all())
    assert np.isinf(np.array(caps)[:, ~TRAINS]).all()
    assert any(np.isfinite(cap[TRAINS]).all() for cap in caps)
