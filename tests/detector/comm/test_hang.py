"""Jobs that hang for the sake of ranks that are known: these are named, whatever the job's shape and whoever else waits."""

from pathlib import Path

import pytest
from fakes.flight import written
from hypothesis import given, settings
from hypothesis import strategies as st

from gpuwarden.detector.comm.flight_folder import Dumps, dumps_in
from gpuwarden.detector.comm.hang import verdict_on
from gpuwarden.detector.comm.strongly import components
from gpuwarden.detector.comm.verdict import listed
from gpuwarden.sim.comm.flight import dumps
from gpuwarden.sim.comm.hung import DEAD_PROCESS, STUCK_DEVICE, STUCK_OUTSIDE, Hang, HungJob
from gpuwarden.sim.comm.shape import Shape

SHAPES = [(1, 4, 1, 1), (4, 1, 1, 1), (1, 1, 4, 1), (2, 2, 2, 1), (4, 4, 1, 1), (2, 4, 2, 1), (4, 2, 2, 2), (2, 1, 4, 2)]
CLASSES = {STUCK_OUTSIDE: "lock_gil", STUCK_DEVICE: "gpu_error", DEAD_PROCESS: "unknown"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("dumps")


def named(dumps: Dumps) -> dict[int, str]:
    return {rank: finding.kind for finding in verdict_on(dumps).findings for rank in finding.ranks}


def dumps_of(job: HungJob, folder: Path) -> Dumps:
    for old in folder.iterdir():
        old.unlink()
    return dumps_in(written(folder, dict(dumps(job))))


@st.composite
def jobs(draw: st.DrawFn, most_faults: int) -> HungJob:
    tensor, pipeline, data, expert = draw(st.sampled_from(SHAPES))
    shape = Shape(tensor, pipeline, data, draw(st.integers(1, 3)), expert)
    ranks = draw(st.lists(st.integers(0, shape.ranks - 1), min_size=1, max_size=most_faults, unique=True))
    kinds = [STUCK_OUTSIDE, STUCK_DEVICE][: 2 if tensor * data > 1 else 1]  # messages alone, in a group of more than two, do not tell whose device is behind
    return HungJob(shape, tuple(Hang(draw(st.sampled_from(kinds)), rank, draw(st.integers(2, 30))) for rank in ranks), steps=6)


def reached(job: HungJob) -> dict[int, str]:
    return {hang.rank: CLASSES[hang.kind] for hang in job.reached}


def unfinished(job: HungJob) -> bool:
    """At the very end of a job nobody tells one that has done all from one that is stuck."""
    return all(asked < len(program) for asked, program in zip(job.asked, job.programs, strict=True))


@settings(max_examples=60)
@given(jobs(1).filter(unfinished))
def test_one_rank_that_stops_is_named(folder: Path, job: HungJob) -> None:
    assert named(dumps_of(job, folder)) == reached(job)


@settings(max_examples=60)
@given(jobs(3).filter(unfinished))
def test_of_several_that_stop_some_are_named_and_nobody_else(folder: Path, job: HungJob) -> None:
    found, truth = named(dumps_of(job, folder)), reached(job)
    assert set(found) <= set(truth)
    assert found or "gpu_error" in truth.values()  # where the devices of all peers of a group are behind alike, none is behind another


def test_one_that_died_is_named_and_not_those_that_are_behind_for_its_sake(folder: Path) -> None:
    for rank, at in ((9, 37), (30, 22)):
        job = HungJob(Shape(8, 2, 4, expert=2), (Hang(DEAD_PROCESS, rank, at),), steps=2)
        assert named(dumps_of(job, folder)) == {rank: "unknown"}


def test_a_job_that_has_done_all_is_blamed_on_nobody(folder: Path) -> None:
    verdict = verdict_on(dumps_of(HungJob(Shape(2, 2, 2, 2), ()), folder))
    assert verdict.findings == ()
    assert verdict.remarks == ()


def test_components_are_those_that_reach_each_other() -> None:
    ways = {0: [1], 1: [2], 2: [0, 3], 3: [4], 4: [3], 5: [5]}
    assert sorted(map(sorted, components(range(7), ways))) == [[0, 1, 2], [3, 4], [5], [6]]
    assert len(list(components(range(50_000), {i: [i + 1] for i in range(49_999)}))) == 50_000


def test_ranks_are_listed_as_runs() -> None:
    assert listed([0, 1, 2, 3, 8, 10, 11]) == "0-3, 8, 10-11"
    assert listed([]) == ""
