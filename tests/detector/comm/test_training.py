"""Running jobs' training in virtual time: losses that are no numbers or jump, steps that do not come, and pauses that are no hangs."""

import math
from typing import Any

from fakes.judged_job import Judged
from fakes.told_job import ToldJob

from gpuwarden.detector.comm.training import LEAST_LOSSES, LEAST_S, PAUSE_S
from gpuwarden.detector.events import Polled, PublishProgress, Raw, Tick
from gpuwarden.detector.machine import Detector, DetectorSetup
from gpuwarden.proto import topics
from gpuwarden.proto.comm_pb2 import CommPhase, CommProgress, CommSummary
from gpuwarden.proto.finding_pb2 import Finding, FindingState
from gpuwarden.proto.progress_pb2 import JobPhase, JobProgress


class Trained:
    """A script that tells of its steps, and what comes of it."""

    def __init__(self) -> None:
        self.detector, self.now_s, self.sent = Detector(DetectorSetup()), 1000.0, 0
        self.firing, self.scores = set[str](), list[JobProgress]()

    def say(self, step: int, **more: Any) -> None:
        self._step(Polled((progress_raw(self.sent + 1, step, **more),)))
        self.sent += 1

    def train(self, first: int, steps: int, loss: float = 2.0) -> None:
        for step in range(first, first + steps):
            self.say(step, loss=loss + 0.01 * (step % 7), grad_norm=1.0)
            self.wait(1)

    def wait(self, seconds: int) -> None:
        for _ in range(seconds):
            self.now_s += 1.0
            self._step(Tick(int(self.now_s * 1e9)))

    def _step(self, event: Polled | Tick) -> None:
        for action in self.detector.step(self.now_s, event):
            if isinstance(action, PublishProgress):
                assert action.job == "42"
                self.scores.append(JobProgress.FromString(action.payload))
            elif hasattr(action, "payload"):
                finding = Finding.FromString(action.payload)
                assert finding.subject.id == "42"
                (self.firing.add if finding.state == FindingState.FINDING_STATE_FIRING else self.firing.discard)(finding.kind)


def progress_raw(sequence: int, step: int, start: str = "p1", **more: Any) -> Raw:
    summary = CommSummary(version=1, node="n1", agent_start=start, sequence=sequence, job_id="42", progress=CommProgress(step=step, **more))
    return Raw(0, sequence, "42", summary.SerializeToString(), topics.COMM)


def test_a_loss_that_is_no_number_fires_at_once_and_is_over_after_twenty_that_are() -> None:
    job = Trained()
    job.train(0, 10)
    assert job.firing == set()
    job.say(10, loss=2.0, grad_norm=math.inf)
    job.wait(1)
    assert job.firing == {"loss_not_finite"}
    job.train(11, 19)
    assert job.firing == {"loss_not_finite"}
    job.train(30, 2)
    assert job.firing == set()


def test_a_loss_that_jumps_and_stays_fires_and_a_single_high_one_does_not() -> None:
    job = Trained()
    job.train(0, LEAST_LOSSES + 1)
    job.say(60, loss=9.0)
    job.train(61, 10)
    assert job.firing == set()
    job.train(71, 3, loss=5.0)
    assert job.firing == {"loss_spike"}
    job.train(74, 5)
    assert job.firing == set()


def test_no_step_for_a_minute_fires_and_is_over_with_the_next() -> None:
    job = Trained()
    job.train(0, 30)
    for _ in range(int(LEAST_S) // 5 + 1):
        job.say(29, age_s=0.0)  # the log is there, and says nothing new
        job.wait(5)
    assert job.firing == {"no_progress"}
    job.say(30)
    job.wait(1)
    assert job.firing == set()


def test_an_agent_that_says_nothing_is_not_a_job_that_stands_still_nor_is_one_that_has_ended() -> None:
    job = Trained()
    job.train(0, 30)
    job.wait(120)
    assert job.firing == set()
    job.say(30)
    job.say(30, ended=True)
    for _ in range(20):
        job.say(30, ended=True)
        job.wait(5)
    assert job.firing == set() and job.scores[-1].phase == JobPhase.JOB_PHASE_ENDED


def test_a_checkpoint_that_is_told_of_is_neither_a_hang_nor_no_progress_until_it_takes_too_long() -> None:
    judged = Judged(ToldJob()).run(60)

    def said(step: int, **more: Any) -> Raw:
        judged.job.sequence += 1
        return progress_raw(judged.job.sequence, step, start="s1", **more)

    judged.run(1, *(said(step) for step in range(5)))
    judged.job.absent.add(0)  # writes, and the others wait
    judged.run(200, said(5, phase=CommPhase.COMM_PHASE_CHECKPOINT))
    assert judged.firing == set()
    judged.run(int(PAUSE_S) - 150)
    assert judged.firing == {("rank_hang", "42/0"), ("no_progress", "42")}


def test_others_are_told_of_phase_step_and_checkpoint() -> None:
    job = Trained()
    job.say(0)
    job.wait(1)
    assert (job.scores[-1].phase, job.scores[-1].step) == (JobPhase.JOB_PHASE_STARTING, 0)
    job.train(1, 30)
    assert (job.scores[-1].phase, round(job.scores[-1].step_s, 1)) == (JobPhase.JOB_PHASE_TRAINING, 1.0)
    assert len(job.scores) == 4  # every ten seconds
    job.say(31, phase=CommPhase.COMM_PHASE_CHECKPOINT)
    job.wait(30)
    assert (job.scores[-1].phase, job.scores[-1].checkpointed_unix_ns) == (JobPhase.JOB_PHASE_CHECKPOINT, 0)
    done_ns = int(job.now_s * 1e9)
    job.train(31, 12)
    assert (job.scores[-1].phase, job.scores[-1].checkpointed_unix_ns) == (JobPhase.JOB_PHASE_TRAINING, done_ns)
