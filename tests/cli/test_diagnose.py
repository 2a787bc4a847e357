"""`gpuwarden diagnose` on dumps of jobs whose culprit is known."""

import json
import pickle
from pathlib import Path

import pytest
from fakes.flight import written

from gpuwarden.cli.main import main
from gpuwarden.sim.comm.flight import dumps
from gpuwarden.sim.comm.hung import Hang, HungJob
from gpuwarden.sim.comm.shape import Shape

JOB = HungJob(Shape(2, 2, 2, 2), (Hang("stuck_process", 5, 9),))


@pytest.fixture
def hung(tmp_path: Path) -> Path:
    return written(tmp_path / "dumps", dict(dumps(JOB)))


def test_the_report_names_the_rank_why_and_who_waits_for_it(hung: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diagnose", str(hung)]) == 0
    said = capsys.readouterr().out
    assert "rank 5: it has nothing pending and asks for nothing more" in said
    assert "non-communication hang, lock_gil, confidence 0." in said
    assert "which has not asked for it" in said


def test_json_says_the_same(hung: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diagnose", "--json", str(hung)]) == 0
    told = json.loads(capsys.readouterr().out)
    (finding,) = told["findings"]
    assert (finding["ranks"], finding["syndrome"], finding["class"]) == ([5], "non-communication hang", "lock_gil")
    assert finding["evidence"]
    assert 0.5 <= finding["confidence"] < 1.0
    assert (told["dumps"], told["missing"], told["refused"]) == (8, [], {})


def test_a_job_that_does_not_hang_is_no_error_and_no_finding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = written(tmp_path / "dumps", dict(dumps(HungJob(Shape(2, 2, 1, 1), ()))))
    assert main(["diagnose", str(folder)]) == 1
    assert "nothing found: no rank is behind its peers" in capsys.readouterr().out


def test_what_cannot_be_read_is_said_and_the_others_are_judged(hung: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (hung / "nccl_trace_rank_1").write_bytes(pickle.dumps({"version": "9"}))
    assert main(["diagnose", str(hung)]) == 0
    said = capsys.readouterr().out
    assert "not read: nccl_trace_rank_1: version: is '9', this reader knows 2.x" in said
    assert "rank 1 left no dump" in said
    assert "rank 5: " in said


def test_a_folder_without_dumps_or_none_at_all_is_an_error_that_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diagnose", str(tmp_path)]) == 2
    assert "has nothing that can be read; dumps are called nccl_trace_rank_N" in capsys.readouterr().err
    assert main(["diagnose", str(tmp_path / "gone")]) == 2
    assert "No such file or directory" in capsys.readouterr().err
    (tmp_path / "_dump_0").write_bytes(b"\x80")
    assert main(["diagnose", str(tmp_path)]) == 2
    assert "_dump_0: file: is neither a whole pickle nor JSON" in capsys.readouterr().err


def test_the_page_shows_every_rank_and_believes_no_dump(tmp_path: Path) -> None:
    left = dict(dumps(JOB))
    for dump in left.values():
        for group in dump["pg_config"].values():
            group["desc"] += "<script>"
    folder, page = written(tmp_path / "dumps", left), tmp_path / "page.html"
    assert main(["diagnose", str(folder), "--html", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert "<script>" not in text
    assert "TENSOR_MODEL_PARALLEL_GROUP&lt;script&gt; 4-5" in text
    assert text.count('class="named"') == 2  # in the table and in the timeline
    assert main(["diagnose", str(folder), "--html", str(tmp_path / "no" / "page.html")]) == 2
