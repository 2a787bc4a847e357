"""`gpuwarden sim faults`, as its user meets it."""

import json
from pathlib import Path

import pytest

from gpuwarden.cli.main import main
from gpuwarden.sim.crashes import study, watched

ROWS = {"total_percent", "post_checkpoint_percent", "detection_percent", "diagnosis_isolation_percent", "reinit_percent"}


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the sweep one column, and a job of few nodes."""
    monkeypatch.setattr(watched, "NODES", 20)
    monkeypatch.setattr(study, "PERSON_MIN", (60.0,))
    monkeypatch.setattr(study, "FALSE_A_MONTH", (2,))


@pytest.mark.usefixtures("few")
def test_it_prints_figures_and_draws_a_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sim", "faults", "--preset", "c4", "--seed", "7", "--months", "1", "--jobs", "1", "--json", "--plot", str(tmp_path / "month.html")]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["before"].keys() >= ROWS and made["after"].keys() >= ROWS
    assert made["before"]["total_percent"] == pytest.approx(31.19, rel=0.1)
    assert made["after"]["total_percent"] < made["before"]["total_percent"]
    assert {(cell["delays"], cell["crashes"], cell["interval_s"]) for cell in made["cells"]} == {
        (delays, crashes, interval_s) for delays in ("paper", "ours") for crashes in (40, 12) for interval_s in (9758.9, 600.0)
    }
    assert made["inputs"].keys() == {"paper", "measured", "stated"} and "interval_before_s" in made["inputs"]["paper"]["fitted"]
    page = (tmp_path / "month.html").read_text()
    assert page.startswith("<!doctype html>") and "<svg" in page and "fitted to the paper" in page


@pytest.mark.usefixtures("few")
def test_a_table_for_people_says_what_is_stated(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sim", "faults", "--months", "1", "--jobs", "1"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("DELAYS") and "stated, not measured" in told and "a person takes" in told and "false findings" in told


@pytest.mark.parametrize(
    ("options", "says"),
    [(("--months", "0"), "--months: is 0, should be 1 to 10,000"), (("--jobs", "0"), "--jobs: is 0, should be 1 to 1,024")],
)
def test_what_cannot_be_is_named(options: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sim", "faults", *options]) == 2
    assert says in capsys.readouterr().err


@pytest.mark.usefixtures("few")
def test_a_picture_that_cannot_be_written_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sim", "faults", "--months", "1", "--jobs", "1", "--plot", str(tmp_path / "no" / "month.html")]) == 2
    assert f"--plot {tmp_path}/no/month.html: No such file" in capsys.readouterr().err
