"""`gpuwarden sim power`, as its user meets it."""

import json
from pathlib import Path

import pytest

from gpuwarden.cli import sim
from gpuwarden.cli.main import main
from gpuwarden.sim.safety.network import Weather
from gpuwarden.sim.serving import study
from gpuwarden.sim.serving.faults import planned

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
        (("--days", "0"), "--days: is 0, should be 0.05 to 60"),
        (("--low-ratio", "0"), "--low-ratio: is 0, should be 0.05 to 0.95"),
        (("--servers", "1"), "--servers: is 1, should be 2 to 1000"),
        (("--trace", "/nowhere.csv"), "--trace /nowhere.csv: No such file"),
        (("--message-loss", "1"), "--message-loss: is 1, should be 0 to 0.95"),
        (("--fault", "partition@1"), "--preset polca: no controller runs there"),
        (("--preset", "headroom", "--fault", "partition@143.9+60"), "--fault partition: ends at minute 144.9, the row at 144"),
        (("--training", "2"), "--training, --power-log: one needs the other"),
        (("--training", "5", "--power-log", "/nowhere.csv"), "--training: is 5, should be 0 to 4"),
        (("--training", "2", "--power-log", "/nowhere.csv"), "--power-log /nowhere.csv: No such file"),
        (("--preset", "headroom", "--ramp-kw", "1"), "--ramp-kw: is 1, should be above 0, with --training"),
    ],
)
def test_what_cannot_be_is_named(options: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, *options]) == 2
    assert says in capsys.readouterr().err


def test_a_fault_that_is_none_is_refused_with_those_that_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([*SMALL, "--fault", "earthquake@1"])
    assert "'earthquake' is no kind; there are controller-killed" in capsys.readouterr().err


def test_faults_and_training_are_told_and_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study, "FILLING_S", 30.0)  # the command's shortest row takes an hour to fill
    rows = [f"{node},{second},{9000 if second % 60 < 50 else 3000}" for second in range(0, 600, 2) for node in (1, 2)]
    (tmp_path / "log.csv").write_text("node,time_s,power_w\n" + "\n".join(rows) + "\n")
    faults = (planned("controller-killed@1+10"), planned("foreign-load@1.5"))
    asked = study.Study("headroom", None, 4, 0.5, 180.0 / 86400.0, 1, 1.0, 0.5, faults, Weather(loss=0.01), 2, tmp_path / "log.csv", 1500.0)
    made, loads = study.done(asked, lambda what, share: None)
    said = sim._sentences(made)
    assert said[-2].startswith("2 of the servers train: its power rises by at most")
    assert said[-1].startswith("Faults: controller-killed at minute 1 for 10 s, peak") and "1 % of messages lost" in said[-1]
    sim._plot(tmp_path / "row.html", said, made, loads)
    page = (tmp_path / "row.html").read_text()
    assert "controller-killed" in page and "foreign-load" in page


def test_a_bad_trace_is_named_with_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "trace.csv").write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46,1,1\nyesterday,1,1\n")
    assert main([*SMALL, "--trace", str(tmp_path / "trace.csv")]) == 2
    assert "line 3" in capsys.readouterr().err
