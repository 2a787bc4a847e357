"""Dumps of a real job of 16 ranks into which faults were injected: who did it, whatever is done to the folder that tells nothing of it."""

import itertools
import shutil
from pathlib import Path

import pytest
from fakes.flight import CASES, DATA, injected, levelled, recorded, relabelled, written

from gpuwarden.detector.comm.flight_folder import dumps_in
from gpuwarden.detector.comm.hang import verdict_on

KNOWN = {"gpu_error", "lock_gil"}


def named(folder: Path) -> dict[int, str]:
    verdict = verdict_on(dumps_in(folder))
    return {rank: finding.kind for finding in verdict.findings for rank in finding.ranks}


def truth(case: str) -> dict[int, str]:
    return {rank: kind if kind in KNOWN else "unknown" for rank, kind in injected(case).items()}


def test_all_recorded_cases_are_tried(data_dir: Path) -> None:
    """Where the measured data is not there, none of those below is."""
    assert sorted(folder.name for folder in (data_dir / "flight_recorder").iterdir()) == CASES
    assert CASES


@pytest.mark.parametrize("case", CASES)
def test_the_injected_ranks_are_named_and_nobody_else(case: str) -> None:
    assert named(DATA / case) == truth(case)


@pytest.mark.parametrize("case", CASES)
def test_nothing_is_read_but_the_dumps(case: str, tmp_path: Path) -> None:
    for file in (DATA / case).glob("_dump_*"):
        shutil.copy(file, tmp_path / file.name)
    assert named(tmp_path) == truth(case)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("case", CASES)
def test_ranks_may_have_other_numbers(case: str, seed: int, tmp_path: Path) -> None:
    dumps, became = relabelled(recorded(case), seed)
    assert named(written(tmp_path, dumps)) == {became[rank]: kind for rank, kind in truth(case).items()}


@pytest.mark.parametrize("case", CASES)
def test_any_two_sound_dumps_may_be_missing(case: str, tmp_path: Path) -> None:
    dumps = recorded(case)
    for away in itertools.combinations(sorted(set(dumps) - set(truth(case))), 2):
        folder = written(tmp_path / "-".join(map(str, away)), {rank: dump for rank, dump in dumps.items() if rank not in away})
        assert named(folder) == truth(case), away


@pytest.mark.parametrize("case", CASES)
def test_dumps_may_be_json(case: str, tmp_path: Path) -> None:
    assert named(written(tmp_path, recorded(case), as_json=True)) == truth(case)


@pytest.mark.parametrize("case", CASES)
def test_where_nobody_is_behind_nobody_is_named(case: str, tmp_path: Path) -> None:
    verdict = verdict_on(dumps_in(written(tmp_path, levelled(recorded(case), set(truth(case))))))
    assert verdict.findings == ()
    assert any("all wait in the same all_to_all" in remark for remark in verdict.remarks)


@pytest.mark.parametrize("case", CASES)
def test_where_the_faulty_ranks_left_no_dump_they_are_named_all_the_same_and_less_surely(case: str, tmp_path: Path) -> None:
    dumps = recorded(case)
    folder = written(tmp_path, {rank: dump for rank, dump in dumps.items() if rank not in truth(case)})
    findings = verdict_on(dumps_in(folder)).findings
    assert {rank for finding in findings for rank in finding.ranks} == set(truth(case))
    assert all(finding.kind == "unknown" and finding.confidence <= 0.5 for finding in findings)
