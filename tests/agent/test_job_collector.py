"""Progress of jobs, from what their scripts tell and from their logs."""

import math
from pathlib import Path

import pytest

from gpuwarden.agent.collectors.job import AGAIN_S, Job
from gpuwarden.agent.collectors.job import open as open_job
from gpuwarden.agent.comm import record
from gpuwarden.agent.config import AgentConfig, JobLogConfig
from gpuwarden.agent.reading import JobPhase, Progress, ProgressReading, Unsupported
from gpuwarden.proto.decode_comm import Progressed, decode_comm

STEP = r"iteration +(?P<step>\d+)/.*lm loss: (?P<loss>\S+) .*grad norm: (?P<grad_norm>\S+)"
LINE = " iteration {step:8}/ 500000 | elapsed time per iteration (ms): 812.1 | lm loss: {loss} | loss scale: 1.0 | grad norm: {grad_norm} |\n"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    (tmp_path / "77").mkdir()
    return tmp_path / "77" / "train.log"


@pytest.fixture
def job(tmp_path: Path) -> Job:
    made = Job(JobLogConfig(tmp_path, STEP, checkpoint="saving checkpoint", evaluation="evaluating"))
    made.collect()
    return made


def said(job: Job) -> list[Progress]:
    told = job.collect().comm
    assert all(isinstance(one, ProgressReading) and one.job == "77" for one in told)
    return [one.progress for one in told if isinstance(one, ProgressReading)]


def write(log: Path, *lines: str) -> None:
    with log.open("a") as opened:
        opened.writelines(lines)


def test_of_many_steps_the_newest_is_told(job: Job, log: Path) -> None:
    write(log, *(LINE.format(step=step, loss="2.5E+00", grad_norm="1.25") for step in range(100)), "something else\n")
    assert said(job) == [Progress(0, 99, 2.5, 1.25, JobPhase.TRAINING)]
    assert said(job) == []


def test_a_loss_that_is_no_number_is_told_though_others_follow(job: Job, log: Path) -> None:
    write(log, LINE.format(step=1, loss="nan", grad_norm="inf"), LINE.format(step=2, loss="2.0", grad_norm="1.0"))
    first, last = said(job)
    assert first.step == 1 and math.isnan(first.loss or 0.0) and first.grad_norm == math.inf
    assert last == Progress(0, 2, 2.0, 1.0, JobPhase.TRAINING)


def test_pauses_begin_with_their_line_and_end_with_a_step(job: Job, log: Path) -> None:
    write(log, LINE.format(step=7, loss="2.0", grad_norm="1.0"), "saving checkpoint at iteration 7\n")
    assert [(one.step, one.phase) for one in said(job)] == [(7, JobPhase.TRAINING), (7, JobPhase.CHECKPOINT)]
    write(log, LINE.format(step=8, loss="2.0", grad_norm="1.0"), "evaluating\n")
    assert [(one.step, one.phase) for one in said(job)] == [(8, JobPhase.TRAINING), (8, JobPhase.EVALUATION)]


def test_a_log_that_says_nothing_new_is_there_and_one_that_has_gone_has_ended(job: Job, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(log, LINE.format(step=7, loss="2.0", grad_norm="1.0"))
    now_s = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now_s)
    assert len(said(job)) == 1
    now_s += AGAIN_S
    (again,) = job.collect().comm
    assert isinstance(again, ProgressReading) and (again.progress.step, again.age_s, again.ended) == (7, AGAIN_S, False)
    log.unlink()
    (last,) = job.collect().comm
    assert isinstance(last, ProgressReading) and last.ended
    assert said(job) == []


def test_what_the_pattern_takes_for_a_number_and_is_none_is_said(job: Job, log: Path) -> None:
    write(log, LINE.format(step=7, loss="-", grad_norm="1.0"))
    reading = job.collect()
    assert reading.comm == () and "job_log.step: finds what are no numbers" in reading.lacks[0]


def test_it_goes_into_a_record_and_comes_out(log: Path) -> None:
    told = ProgressReading("77", 5, Progress(3, 9, math.nan, None, JobPhase.CHECKPOINT), 1.5, False)
    came = decode_comm(record("n1", "s1", 1, 1, told))
    assert isinstance(came, Progressed)
    assert (came.job, came.pid, came.progress.rank, came.progress.step, came.progress.phase, came.progress.age_s) == ("77", 5, 3, 9, 1, 1.5)
    assert math.isnan(came.progress.loss) and not came.progress.HasField("grad_norm")


def test_configuration_says_what_is_wrong_with_it(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="there is no job_log"):
        open_job(AgentConfig())
    with pytest.raises(Unsupported, match="is no folder"):
        open_job(AgentConfig(job_log=JobLogConfig(tmp_path / "none", STEP)))
    assert [*JobLogConfig(tmp_path, STEP).problems()] == []
    assert [line[:30] for line in JobLogConfig(tmp_path, "step", checkpoint="(").problems()] == ["step: has no group (?P<step>)", "checkpoint: is no regular expre"[:30]]
