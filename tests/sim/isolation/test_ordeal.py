"""Random schedules of faults: nothing breaks, and a rail that is taken out is missed."""

from dataclasses import replace

import pytest

from gpuwarden.controller.isolation.judging import ALL
from gpuwarden.sim.isolation.__main__ import main
from gpuwarden.sim.isolation.ordeal import FAULTS_LEAST, undergo

SEEN_WITHOUT = {
    "telemetry_loss": 12, "application": 8, "capped": 5, "second_opinion": 4, "ownership": 55, "blast_radius": 18, "scheduler_known": 8, "spares": 41,
    "spared_work": 4,
}


@pytest.mark.parametrize("seed", range(1, 9))
def test_nothing_breaks(seed: int) -> None:
    outcome = undergo(seed)
    assert outcome.broken == ()
    assert outcome.struck.total() >= FAULTS_LEAST


def test_the_same_seed_is_the_same_schedule() -> None:
    assert undergo(52) == undergo(52)


@pytest.mark.parametrize(("name", "seed"), SEEN_WITHOUT.items())
def test_the_checker_misses_a_rail(name: str, seed: int) -> None:
    signal, action = dict(ALL.signal), dict(ALL.action)
    del (signal if name in signal else action)[name]
    assert undergo(seed, replace(ALL, signal=signal, action=action)).broken


def test_the_command_prints_what_was_struck(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--schedules", "2", "--seed", "3", "--jobs", "1"]) == 0
    said = capsys.readouterr().out
    assert "2 schedules" in said
    assert "0 schedules with something broken" in said
    assert "cells struck" in said
