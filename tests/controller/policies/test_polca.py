"""POLCA on the limits of a domain: the paper's rungs lock clocks and touch no power limit."""

import numpy as np
import pytest
from fakes.views import row_of, seen

from gpuwarden.controller.policies.polca import POLICY, State
from gpuwarden.controller.policies.view import RowView

DOMAIN = row_of(("low", 4, "inference"), ("high", 4, "inference"), rating_w=60e3)


def at(load_ratio: float) -> RowView:
    return seen(DOMAIN, np.full(8, (load_ratio * 60e3 / 8 - 2300.0) / 1.155))


def walked(*loads: float, step_s: float = 1.0) -> State:
    state = POLICY.begin(0.0, at(loads[0]))
    for turn, load in enumerate(loads):
        state, wished_w = POLICY.wishes(state, turn * step_s, at(load), (turn,))
        assert (wished_w == 5600.0).all(), "a power limit is not its means"
    return state


@pytest.mark.parametrize(("loads", "low", "high"), [
    ((0.79,), 1.0, 1.0),
    ((0.81,), 0.904, 1.0),
    ((0.81, 0.76), 0.904, 1.0),
    ((0.81, 0.74), 1.0, 1.0),
    ((0.9,), 0.787, 1.0),
    ((0.9, 0.9, 0.9), 0.787, 0.926),
    ((1.01,), 0.204, 0.204),
    ((1.01, 0.86), 0.204, 0.204),
    ((1.01, 0.83), 0.904, 1.0),
])  # fmt: skip
def test_the_papers_clocks_at_the_papers_thresholds(loads: tuple[float, ...], low: float, high: float) -> None:
    clocks = POLICY.locks(walked(*loads))
    assert clocks is not None
    assert clocks.tolist() == [low] * 4 + [high] * 4


def test_the_reason_says_which_threshold_and_clocks() -> None:
    assert POLICY.why(walked(0.7), 0) == "polca: below 80% no clock is locked"
    assert POLICY.why(walked(0.9, 0.9, 0.9), 0) == (
        "polca: above 89% clocks of the low priority are locked at 79% and the high one at 93%, until it is below 84%"
    )
    assert POLICY.why(walked(1.01), 0).startswith("polca: above 100% all clocks are at 20%")
