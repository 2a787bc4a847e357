"""`gpuwarden whatif`, as its user meets it."""

import json
from pathlib import Path

import pytest
from fakes.worked_node import WorkedNode

from gpuwarden.cli.main import main
from gpuwarden.detector.history import Recorder
from gpuwarden.detector.history_parquet import Parquet


@pytest.fixture
def power_log(tmp_path: Path) -> Path:
    """Ten nodes, an hour, 4 kW each but 5 kW in the second half."""
    rows = [f"n{node},{2 * step},{5000 if step > 900 else 4000}" for step in range(1800) for node in range(10)]
    (tmp_path / "row.csv").write_text("\n".join(["node,time_s,power_w", *rows]) + "\n")
    return tmp_path / "row.csv"


def test_it_says_how_many_fit_and_what_ends_it_and_draws_it(power_log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["whatif", "--power-log", str(power_log), "--limit-w", "65000", "--preset", "none", "--resamplings", "10", "--floor-w", "100", "--base-w", "1000"]
    assert main([*asked, "--plot", str(tmp_path / "answer.html")]) == 0
    told = capsys.readouterr().out
    assert "10 servers, 1.0 hours, a reading every 2 s: peak 50.0 kW, 76.9 % of 65.0 kW." in told
    assert "3 more fit under none (30 % more), with every bound kept in 95 % of the resamplings; median 3, up to 3." in told
    assert "the brake (100 %)" in told and "rise together" in told
    page = (tmp_path / "answer.html").read_text()
    assert page.startswith("<!doctype html>") and "<svg" in page and "3 more fit" in page
    assert main([*asked, "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["fit"] == [3, 3, 3] and made["limit_w"] == 65000 and made["table"][-1]["added"] == 4


def test_it_reads_what_a_recorder_wrote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two cards at 500 W behind a slope of 1.1 and 300 W of base: 1.4 kW; the second half of the time under caps."""
    recorder, nodes = Recorder(Parquet(tmp_path)), [WorkedNode(name=f"gpu{number}", cards=2) for number in range(4)]
    for offset in range(120):
        for number, node in enumerate(nodes):
            if offset == 60:
                node.cap(490.0)
            for payload in node.passes(1):
                recorder.take(0, len(nodes) * offset + number, payload)
    recorder.flush()
    asked = ["whatif", "--history", str(tmp_path), "--limit-w", "9000", "--gpus", "2", "--base-w", "300", "--floor-w", "100", "--json"]
    assert main([*asked, "--preset", "none", "--resamplings", "5"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["fit"] == [2, 2, 2]
    assert made["table"][0]["peak"] == pytest.approx(4 * 1400 / 9000, rel=1e-3)
    main([one for one in asked if one != "--json"] + ["--resamplings", "5"])
    assert "Cards were under caps for 5" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--limit-w", "0"), "--limit-w: is 0, should be 1 to 1e+09"),
        (("--low-ratio", "2"), "--low-ratio: is 2, should be 0 to 1"),
        (("--floor-w", "800"), "--floor-w: is 800, should be 1 to 700"),
        (("--resamplings", "0"), "--resamplings: is 0, should be 1 to 10000"),
    ],
)
def test_what_cannot_be_is_named(options: tuple[str, str], says: str, power_log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["whatif", "--power-log", str(power_log), "--limit-w", "65000", *options]) == 2
    assert says in capsys.readouterr().err


def test_a_recording_that_cannot_be_read_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for content, says in (
        ("node,time_s\na,1\n", "the column power_w is missing"),
        ("node,time_s,power_w\na,1,5\n", "holds readings of one moment only"),
        ("node,time_s,power_w\na,0,5\na,500,5\n", "a reading of a node every 500 s"),
    ):
        (tmp_path / "row.csv").write_text(content)
        assert main(["whatif", "--power-log", str(tmp_path / "row.csv"), "--limit-w", "65000"]) == 2
        assert says in capsys.readouterr().err
    assert main(["whatif", "--history", str(tmp_path), "--limit-w", "65000"]) == 2
    assert "holds no power of GPUs" in capsys.readouterr().err
    assert main(["whatif", "--history", str(tmp_path / "nowhere"), "--limit-w", "65000"]) == 2
    assert "is not a folder" in capsys.readouterr().err


def test_a_training_row_is_told_for_one(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = data_dir / "power/gpt3_64node_h100_power.csv.gz"
    assert main(["whatif", "--power-log", str(log), "--limit-w", "470000", "--preset", "none", "--resamplings", "5"]) == 0
    told = capsys.readouterr().out
    assert "64 servers" in told and "training job" in told and "1 more fit" in told
