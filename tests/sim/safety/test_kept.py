"""Outcomes in a file: hours add up over invocations, and the figures of all are printed."""

import json
import subprocess
import sys
from pathlib import Path

from gpuwarden.sim.safety.kept import add_to, outcomes_in
from gpuwarden.sim.safety.ordeal import undergo
from gpuwarden.sim.safety.row import ONE_HZ


def test_what_was_written_is_read_as_it_was(tmp_path: Path) -> None:
    file, outcomes = tmp_path / "runs", [undergo(seed, "fair-share", ONE_HZ, 30.0) for seed in (1, 2)]
    assert outcomes_in(file) == []
    for outcome in outcomes:
        add_to(file, outcome)
    assert outcomes_in(file) == outcomes
    assert outcomes[0].faults.total() > 0


def told(file: Path, *more: str) -> tuple[dict[str, dict[str, dict[str, float]]], int]:
    command = [sys.executable, "-m", "gpuwarden.sim.safety", "--hours-10hz", "0", "--hours-1hz", "0.01", "--jobs", "1", "--json", *more]
    ran = subprocess.run([*command, "--add-to", str(file)], capture_output=True, text=True, check=False)
    return json.loads(ran.stdout), ran.returncode


def test_a_second_invocation_runs_what_the_first_left_with_other_seeds(tmp_path: Path) -> None:
    file = tmp_path / "runs"
    short, wrong = told(file, "--stop-after-s", "0")
    assert (short["hours"]["1 Hz"]["runs"], wrong) == (1, 0)
    more, wrong = told(file, "--hours-1hz", "0.02")
    assert (more["hours"]["1 Hz"]["runs"], wrong) == (2, 0)
    assert [outcome.seed for outcome in outcomes_in(file)] == [1, 2]
    assert sum(outcome.passed_s for outcome in outcomes_in(file)) >= 0.02 * 3600


def test_all_that_was_asked_is_run_one_after_another(tmp_path: Path) -> None:
    _, wrong = told(tmp_path / "runs", "--hours-10hz", "0.003", "--hours-1hz", "0.003")
    assert wrong == 0
    assert len(outcomes_in(tmp_path / "runs")) == 2, "one at each pace"
