"""The quick way through a recorded row does what the ladder, the brake and the breaker do step by step."""

from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpuwarden.controller.policies.ladder import BRAKE, LADDERS, UNLOCKED, Standing, climb, clocks
from gpuwarden.sim import thermal
from gpuwarden.sim.serving.meter import TRIP_S
from gpuwarden.sim.whatif import held as quick
from gpuwarden.sim.whatif.held import Control, Happened, held
from gpuwarden.sim.whatif.load import Load

STEP_S = 2.0


def control(preset: str = "polca", lock_s: float = 4.0, limit_w: float = 100.0) -> Control:
    return Control(limit_w, LADDERS[preset], lock_s, 2.0, 0.25)


def plainly(load: Load, asked: Control, block_steps: int) -> Happened:
    """Step by step, as `sim.serving.row` goes about it."""
    steps = len(load.high_w)
    made = Happened.nothing(-(-steps // block_steps))
    ladders = [(asked.ladder, asked.lock_s), (BRAKE, asked.brake_s)]
    stands, orders, in_force = [Standing(), Standing()], [[], []], [(UNLOCKED, UNLOCKED)] * 2
    heat = 0.0
    for step in range(steps):
        block, now_s = step // block_steps, (step + 1) * STEP_S
        for which in (0, 1):
            while orders[which] and orders[which][0][0] <= step * STEP_S:
                in_force[which] = orders[which].pop(0)[1]
        low, high = (min(a, b) for a, b in zip(*in_force, strict=True))
        power = asked.relation.power(np.array([low, high]))
        ratio = (load.idle_w + power[1] * load.high_w[step] + power[0] * load.low_w[step]) / asked.limit_w
        made.peak[block] = max(made.peak[block], ratio)
        made.over_s[block] += STEP_S * (ratio > 1.0)
        for by_clock, clock, wanted in zip(made.work, (low, high), (load.low_w, load.high_w), strict=True):
            by_clock.setdefault(clock, np.zeros(len(made.brakes)))[block] += STEP_S * wanted[step]
        heat = thermal.after(heat, ratio, STEP_S)
        if heat >= TRIP_S:
            made.trips[block], heat = made.trips[block] + 1, 0.0
        for which, (ladder, effect_s) in enumerate(ladders):
            before, stands[which] = stands[which], climb(ladder, stands[which], now_s, ratio, effect_s)
            if stands[which] != before:
                orders[which].append((now_s + effect_s, clocks(ladder, stands[which])))
            made.brakes[block] += which == 1 and stands[which].rungs > before.rungs
    return made


@settings(max_examples=150)
@given(
    seed=st.integers(0, 2**32 - 1), preset=st.sampled_from(sorted(LADDERS)), lock_s=st.sampled_from([0.0, 1.0, 2.0, 5.0, 40.0]),
    level=st.floats(0.6, 1.2), swing=st.floats(0.0, 0.3), block_steps=st.sampled_from([7, 50, 1000]),
)
def test_it_is_what_happens_step_by_step(seed: int, preset: str, lock_s: float, level: float, swing: float, block_steps: int) -> None:
    chance = np.random.default_rng(seed)
    wave = level + swing * np.sin(np.arange(300) / chance.uniform(3.0, 60.0)) + 0.03 * chance.standard_normal(300)
    load = Load(STEP_S, 30.0, np.maximum(0.0, 50.0 * wave), np.maximum(0.0, 50.0 * wave[::-1] - 20.0))
    ours, theirs = held(load, control(preset, lock_s), block_steps), plainly(load, control(preset, lock_s), block_steps)
    for name in ("brakes", "trips", "over_s", "peak"):
        assert getattr(ours, name) == pytest.approx(getattr(theirs, name)), name
    for one, other in zip(ours.work, theirs.work, strict=True):
        assert {clock: values.tolist() for clock, values in one.items() if values.any()} == {
            clock: pytest.approx(values.tolist()) for clock, values in other.items() if values.any()
        }


def test_it_goes_the_same_way_however_many_steps_it_looks_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    wave = 0.9 + 0.2 * np.sin(np.arange(1000) / 40.0)
    load = Load(STEP_S, 30.0, 40.0 * wave, 40.0 * wave)
    whole = held(load, control(), 500)
    monkeypatch.setattr(quick, "LOOK", (3, 5))
    assert held(load, control(), 500).brakes.tolist() == whole.brakes.tolist()
    assert whole.brakes.sum() < inf and whole.peak.max() > 0.8


def test_a_lock_stretches_prompts_and_tokens_by_their_shares() -> None:
    assert Control(1.0, (), 0.0, 0.0, prompt_ratio=1.0).stretch(0.787) == pytest.approx(1.25)
    assert Control(1.0, (), 0.0, 0.0, prompt_ratio=0.0).stretch(0.787) == pytest.approx(1.03)
    assert control().stretch(UNLOCKED) == pytest.approx(1.0)
