"""Training rises by so much a second, whatever it fell by; what runs on is not held back."""

from collections.abc import Callable

import numpy as np
from fakes.views import row_of, seen

from gpuwarden.controller.policies.ramp import STILL, WITHIN_S, begin
from gpuwarden.controller.power.level import Watts

RAMP_W_PER_S = 6000.0
DOMAIN = row_of(("high", 8, "training"), ("high", 4, "inference"), rating_w=200e3)
TRAINS = np.arange(12) < 8


def draws(wanted_w: Callable[[float], float | Watts], seconds: float, ramp_w_per_s: float = RAMP_W_PER_S) -> tuple[list[float], list[Watts]]:
    """What the training nodes draw in all, ten times a second, and the caps."""
    ramp, caps_w = begin(12), np.full(12, np.inf)
    drawn_w, caps = list[float](), list[Watts]()
    for step in range(round(seconds * 10)):
        power_w = np.minimum(np.where(TRAINS, wanted_w(step / 10), 3000.0), caps_w)
        view = seen(DOMAIN, power_w, ramp_w_per_s=ramp_w_per_s)
        ramp = ramp.follow(step / 10, view)
        caps_w = ramp.caps_w(view)
        drawn_w.append(1.155 * float(power_w[TRAINS].sum()))
        caps.append(caps_w)
    return drawn_w, caps


def steepest_w(drawn_w: list[float], from_s: float, within_s: float) -> float:
    """The largest rise within so many seconds."""
    drawn = np.array(drawn_w[round(from_s * 10) :])
    return max(float((drawn[lag:] - drawn[:-lag]).max()) for lag in range(1, round(within_s * 10)))


def job(now_s: float) -> float:
    """Its checkpoint draws what the floor lets be at any time."""
    return 1600.0 if 20.0 <= now_s % 60.0 < 26.0 else 5000.0


def test_after_a_checkpoint_power_rises_by_a_ramp_and_is_all_back() -> None:
    free, _ = draws(job, 60.0, np.inf)
    slowed, _ = draws(job, 60.0)
    assert steepest_w(free, 20.0, WITHIN_S) > 30e3
    assert steepest_w(slowed, 20.0, WITHIN_S) <= RAMP_W_PER_S * WITHIN_S * (1 + STILL) * 1.01
    assert max(slowed[round(26.0 * 10) : round(33.0 * 10)]) == max(free), "31 kW come back in less than seven seconds"


def test_a_dip_of_two_seconds_is_a_checkpoint_too() -> None:
    """As between the iterations of a large model: all nodes dip, not at the same moment, and what they draw together jumps back."""

    def dips(now_s: float) -> Watts:
        return np.where((now_s - 20.0 - np.arange(12) / 8) % 12.0 < 2.0, 3400.0, 4600.0) if now_s > 20.0 else np.full(12, 4600.0)

    free, _ = draws(dips, 60.0, np.inf)
    slowed, _ = draws(dips, 60.0, 3000.0)
    assert steepest_w(free, 20.0, WITHIN_S) > 9e3
    assert steepest_w(slowed, 20.0, WITHIN_S) <= 3000.0 * WITHIN_S * (1 + STILL) * 1.01
    assert max(slowed[300:]) == max(free)


def test_dips_that_are_less_than_the_ramp_are_not_slowed() -> None:
    def dips(now_s: float) -> float:
        return 4500.0 - 900.0 * (now_s % 4.0 < 0.5)

    free, _ = draws(dips, 60.0, np.inf)
    slowed, _ = draws(dips, 60.0, 5e3)
    assert slowed == free, "8.3 kW within 0.5 s, where 10 kW are free within 2"
    _, caps = draws(lambda now_s: 4500.0 - 50.0 * (now_s % 4.0 < 2.0), 60.0)
    assert np.array_equal(np.array(caps)[50], np.array(caps)[-1]), "noise moves no limit"


def test_all_training_nodes_are_held_alike_and_nobody_else() -> None:
    _, caps = draws(job, 60.0)
    assert all(np.ptp(cap[TRAINS]) == 0.0 for cap in caps if np.isfinite(cap[TRAINS]).all())
    assert np.isinf(np.array(caps)[:, ~TRAINS]).all()
    assert any(np.isfinite(cap[TRAINS]).all() for cap in caps)


def test_a_job_that_waits_or_says_nothing_holds_no_other_back() -> None:
    one_waits = np.where(np.arange(12) < 4, 300.0, 5000.0)
    _, caps = draws(lambda now_s: one_waits, 30.0)
    assert (np.array(caps)[:, 4:8] > 5000.0).all()
    _, caps = draws(lambda now_s: np.where(np.arange(12) < 4, np.nan if now_s > 5.0 else 4000.0, 5000.0), 30.0)
    assert np.array_equal(np.array(caps)[40], np.array(caps)[-1]), "and one that falls silent keeps its limit"
