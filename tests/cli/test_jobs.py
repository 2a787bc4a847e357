"""`gpuwarden jobs`, as its user meets it."""

import json
import re
from pathlib import Path

import pytest
from fakes.worked_node import WorkedNode

from gpuwarden.cli.main import main
from gpuwarden.detector.history import Recorder
from gpuwarden.detector.history_parquet import Parquet


@pytest.fixture
def history(tmp_path: Path) -> Path:
    """One hundred seconds of a node with a job on three cards, half of the time capped, and an idle card; from 2023-11-14 22:13:21 UTC on."""
    node = WorkedNode(cards=4, power_w={0: 600.0, 1: 600.0, 2: 600.0, 3: 70.0}, reasons=4.0)
    for card in range(3):
        node.run(card, "71", user="ada")
    payloads = node.passes(50)
    node.cap(490.0)
    recorder = Recorder(Parquet(tmp_path / "history"))
    for offset, payload in enumerate(payloads + node.passes(51)):
        recorder.take(0, offset, payload)
    recorder.flush()
    return tmp_path / "history"


def test_a_table_with_a_line_a_job_and_one_that_says_whether_it_adds_up(history: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["jobs", "--history", str(history)]) == 0
    told = capsys.readouterr().out
    assert told.startswith("2023-11-14 22:13:21 to 2023-11-14 22:15:01 UTC, 4 GPUs\n\nJOB ")
    (job,) = [line for line in told.splitlines() if line.startswith("71 ")]
    assert re.split(r" {2,}", job) == ["71", "ada", "training", "3", "0.0833", "0.0500 kWh", "600 W", "152 s", "50.5 %", "50.5 %", "0.8-12.3 %"]
    assert re.search(r"^\(idle\) +- +- +1 +0\.0278 +0\.0019 kWh +70 W +- +- +- +-$", told, re.MULTILINE)
    assert "The cards' own counters rose by 0.0519 kWh, of which 0.0519 kWh are in the table: +0.00 %." in told
    assert "SLOWDOWN: an estimate" in told and "power times time" not in told and "(not known)" not in told


def test_as_json_in_joules_and_seconds(history: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["jobs", "--history", str(history), "--json", "--since", "2023-11-14T22:14", "--until", "2023-11-14T23:15:01+01:00"]) == 0
    made = json.loads(capsys.readouterr().out)
    (job,) = made["jobs"]
    assert (job["job_id"], job["user"], job["job_class"], job["gpus"], job["gpu_s"]) == ("71", "ada", "training", 3, 180.0)
    assert (job["energy_j"], made["idle"]["energy_j"]) == (pytest.approx(180 * 600.0), pytest.approx(60 * 70.0))
    assert made["energy_j"] == made["counters_j"] == pytest.approx(180 * 600.0 + 60 * 70.0)
    assert (made["last_unix_ns"] - made["first_unix_ns"], made["difference_ratio"]) == (60 * 10**9, 0.0)


def test_what_does_not_add_up_to_the_counters_is_said_by_the_exit_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A clock that was set back, and never caught up: what was drawn since then has no time."""
    node, recorder = WorkedNode(), Recorder(Parquet(tmp_path))
    payloads = node.passes(10)
    node.unix_ns -= 60 * 10**9
    for offset, payload in enumerate(payloads + node.passes(10)):
        recorder.take(0, offset, payload)
    recorder.flush()
    assert main(["jobs", "--history", str(tmp_path)]) == 1
    assert re.search(r"are in the table: -\d+\.\d\d %\.", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--since", "2023-11-15", "--until", "2023-11-14"), "--until: should be later than --since"),
        (("--since", "2030-01-01"), "has no readings of GPUs in that time"),
        (("--history", "/nowhere"), "--history: /nowhere is not a folder"),
    ],
)
def test_what_cannot_be_is_named(history: Path, options: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["jobs", "--history", str(history), *options]) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("time", ["yesterday", "1969-12-31", "2600-01-01"])
def test_a_time_that_is_none_is_refused(history: Path, time: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["jobs", "--history", str(history), "--since", time])
    assert f"--since: is {time}, should be" in capsys.readouterr().err


def test_a_file_that_cannot_be_read_is_named(history: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (path,) = history.glob("kind=gpu/*/*.parquet")
    path.write_text("node,power_w\n")
    assert main(["jobs", "--history", str(history)]) == 2
    assert f"--history: {path}: cannot be read as Parquet" in capsys.readouterr().err


def test_a_name_that_would_move_the_cursor_does_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    node, recorder = WorkedNode(), Recorder(Parquet(tmp_path))
    node.run(0, "\x1b[2J", user="a\nb")
    for offset, payload in enumerate(node.passes(3)):
        recorder.take(0, offset, payload)
    recorder.flush()
    assert main(["jobs", "--history", str(tmp_path)]) == 0
    assert "\x1b" not in (told := capsys.readouterr().out) and "a\nb" not in told
