"""`gpuwarden checkpoint`, as a job's script asks it."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gpuwarden.cli.main import main


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two checkpoints of plain files, of unix time 1,000 and 2,000."""
    for step, written_s in ((1, 1_000), (2, 2_000)):
        place = tmp_path / f"step-{step}"
        place.mkdir()
        (place / "rank-0.pt").write_bytes(b"weights")
        (place / "checkpoint.json").write_text(json.dumps({"version": 1, "files": {"rank-0.pt": 7}}))
        os.utime(place / "checkpoint.json", (written_s, written_s))
    return tmp_path


def test_it_prints_where_to_go_on_from(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["checkpoint", str(folder)]) == 0
    assert capsys.readouterr().out == f"{folder}/step-2\n"
    assert main(["checkpoint", str(folder), "--json", "--before", datetime.fromtimestamp(2_000, UTC).isoformat()]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"path": f"{folder}/step-1", "kind": "manifest", "step": 1, "bytes": 7, "written_unix_s": 1_000.0}


def test_where_there_is_none_it_says_why_and_ends_with_1(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["checkpoint", str(folder / "nowhere")]) == 1
    (folder / "step-2" / "rank-0.pt").unlink()
    assert main(["checkpoint", str(folder), "--before", "1970-01-01T00:00:00Z"]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "nowhere: No such file or directory" in printed.err
    assert "step-2: rank-0.pt is not there; step-1: was written 1000 s too late" in printed.err


@pytest.mark.parametrize("bad", ["yesterday", "2026-01-31T12:00:00"])
def test_a_time_that_is_none_or_of_no_zone_is_refused(folder: Path, bad: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["checkpoint", str(folder), "--before", bad])
    assert f"argument --before: is '{bad}', should" in capsys.readouterr().err
