"""`gpuwarden up` as a user types it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


def up(folder: Path, *arguments: str, timeout_s: float = 100.0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gpuwarden.cli", "up", "--headless", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=timeout_s, check=False)


def figures(folder: Path, *arguments: str) -> Any:
    done = up(folder, "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def log(folder: Path, silent: range = range(0)) -> Path:
    """Eight nodes at 6.5 kW, a row every 2 s for a minute; the last node has none in `silent`."""
    rows = [
        f"n{node},{second},6500" for second in range(0, 60, 2) for node in range(8) if not (node == 7 and second in silent)
    ]
    path = folder / "row.csv"
    path.write_text("\n".join(["node,time_s,power_w", *rows]) + "\n")
    return path


def test_a_log_is_played_whole_and_held_below_the_budget(tmp_path: Path) -> None:
    made = figures(tmp_path, "--power-log", str(log(tmp_path)), "--budget-w", "47000")
    assert made["samples_sent"] == made["samples_judged"] == 240
    assert made["peak_before_w"] == pytest.approx(52_000)
    assert made["peak_after_w"] <= 47_000 or made["over_budget_s"] < 4.0  # what happened before the first report
    assert (made["samples_lost"], made["samples_repeated"], made["log_holes"], made["ledger_agrees"]) == (0, 0, 0, True)


def test_a_log_with_holes_is_counted_and_its_node_is_stale_there(tmp_path: Path) -> None:
    made = figures(tmp_path, "--power-log", str(log(tmp_path, range(20, 40))), "--budget-w", "47000")
    assert made["log_holes"] == 1
    assert made["samples_sent"] == made["samples_judged"] == 230
    assert made["alerts"] >= 1


def test_in_observe_the_ledger_says_what_would_have_been_and_the_power_is_what_it_was(tmp_path: Path) -> None:
    made = figures(tmp_path, "--power-log", str(log(tmp_path)), "--budget-w", "47000", "--mode", "observe")
    assert made["caps_set"] == 0
    assert made["peak_after_w"] == pytest.approx(made["peak_before_w"], rel=0.001)
    assert made["ledger_kinds"]["cap"] >= 8


def test_without_json_it_ends_with_sentences(tmp_path: Path) -> None:
    said = up(tmp_path, "--duration", "20").stdout
    assert "8 nodes for 0.3 minutes of their time, budget 54.0 kW, mode auto." in said
    assert "Telemetry: 161 samples sent, 161 judged, 0 lost, 0 judged twice, 0 refused." in said


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--power-log", "absent.csv"], "absent.csv: No such file or directory"),
        (["--budget-w", "1000"], "budget_w: is 1,000 W, below the floors"),
        (["--budget-w", "-5"], "argument --budget-w: is -5, should be above 0"),
        (["--speed", "0"], "argument --speed: is 0, should be above 0"),
        (["--duration", "nan"], "argument --duration: is nan, should be above 0"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(tmp_path: Path, arguments: list[str], says: str) -> None:
    done = up(tmp_path, *arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_the_ledger_can_be_kept(tmp_path: Path) -> None:
    made = figures(tmp_path, "--duration", "20", "--state", str(tmp_path / "state"), "--record", str(tmp_path / "history"))
    assert (tmp_path / "state" / "ledger.sqlite").stat().st_size > 0
    assert made["ledger_actions"] > 8
    assert list((tmp_path / "history").rglob("*.parquet"))
