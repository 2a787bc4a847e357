"""`gpuwarden sim power`, as its user meets it."""

import json
from pathlib import Path

import pytest

from gpuwarden.cli.main import main

SMALL = ("sim", "power", "--servers", "4", "--added", "0.5", "--days", "0.1")
KEYS = {"brakes", "trips", "over_rating_s", "latency", "throughput_ratio", "peak_w", "row", "budget_w"}


def test_it_prints_figures_and_draws_a_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, "--json", "--plot", str(tmp_path / "row.html")]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made.keys() >= KEYS and made["servers_in_all"] == 6
    assert {*made["latency"]} == {"high", "low"} and made["latency"]["high"]["p50_ratio"] >= 1.0
    page = (tmp_path / "row.html").read_text()
    assert page.startswith("<!doctype html>") and "<svg" in page and "brakes" in page


def test_without_a_policy_nobody_waits_longer(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, "--preset", "none", "--added", "0", "--json"]) == 0
    latency = json.loads(capsys.readouterr().out)["latency"]
    assert {one[ratio] for one in latency.values() for ratio in ("p50_ratio", "p99_ratio")} == {1.0}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--added", "-1"), "--added: is -1, should be 0 to 2"),
        (("--days", "0"), "--days: is 0, should be 0.1 to 60"),
        (("--low-ratio", "0"), "--low-ratio: is 0, should be 0.05 to 0.95"),
        (("--servers", "1"), "--servers: is 1, should be 2 to 1000"),
        (("--trace", "/nowhere.csv"), "--trace /nowhere.csv: No such file"),
    ],
)
def test_what_cannot_be_is_named(options: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, *options]) == 2
    assert says in capsys.readouterr().err


def test_a_bad_trace_is_named_with_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "trace.csv").write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46,1,1\nyesterday,1,1\n")
    assert main([*SMALL, "--trace", str(tmp_path / "trace.csv")]) == 2
    assert "line 3" in capsys.readouterr().err
