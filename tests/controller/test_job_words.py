"""Jobs' own words on their way to the isolating machine: checked at the door, of the run that is, and of no other."""

import logging
import time
from collections.abc import Iterator
from threading import Event

import pytest

from gpuwarden.controller.isolation.events import JobTold
from gpuwarden.controller.isolation.records import Activity
from gpuwarden.controller.job_words import REFUSED, JobWords
from gpuwarden.controller.schedulers.scheduler import JobTruth, Kind, Phase, Truth
from gpuwarden.core.bus_memory import MemoryBus
from gpuwarden.proto import topics
from gpuwarden.proto.progress_pb2 import JobPhase, JobProgress

NOW_S = 1_800_000_000.0


def said(job: str = "7", phase: int = JobPhase.JOB_PHASE_CHECKPOINT, ago_s: float = 1.0, for_s: float = 5.0, **more: int) -> bytes:
    at_ns = int((NOW_S - ago_s) * 1e9)
    fields = {"version": 1, "job_id": job, "phase": phase, "updated_unix_ns": at_ns, "phase_since_unix_ns": at_ns - int(for_s * 1e9), **more}
    return JobProgress(**fields).SerializeToString()


class Heard:
    """What comes of words about job 7, which the scheduler tells of."""

    def __init__(self) -> None:
        self.told, self.stop, self.bus, self.now_s = list[JobTold](), Event(), MemoryBus(), NOW_S
        self.run(0)
        self.words = JobWords(lambda stop: self.bus, lambda: self.truth, self._offer, self.stop, lambda: self.now_s)

    def _offer(self, told: JobTold) -> bool:
        self.told.append(told)
        return True

    def run(self, restarts: int, phase: Phase = Phase.RUNNING) -> None:
        self.truth = Truth({}, {"7": JobTruth("7", phase, Kind.BATCH, ("n1",), restarts, 1, True)})

    def of(self, *payloads: bytes) -> list[tuple[int, Activity]]:
        """What they lead to. After them a word is said that is always heard."""
        self.told.clear()
        for payload in (*payloads, said("7", JobPhase.JOB_PHASE_ENDED, ago_s=NOW_S - self.now_s, for_s=0.0)):
            self.bus.producer().send(topics.PROGRESS, "7", payload)
        until_s = time.monotonic() + 10
        while not self.told or self.told[-1].activity is not Activity.FINALIZING:
            assert time.monotonic() < until_s
            time.sleep(0.01)
        return [(one.restarts, one.activity) for one in self.told[:-1]]


@pytest.fixture
def heard() -> Iterator[Heard]:
    made = Heard()
    yield made
    made.stop.set()
    made.words.join()


def test_a_word_of_a_job_that_runs_is_told_with_when_it_last_saved(heard: Heard) -> None:
    phases = {
        JobPhase.JOB_PHASE_STARTING: Activity.STARTING, JobPhase.JOB_PHASE_TRAINING: Activity.TRAINING,
        JobPhase.JOB_PHASE_CHECKPOINT: Activity.CHECKPOINTING, JobPhase.JOB_PHASE_EVALUATION: Activity.EVALUATING,
    }  # fmt: skip
    assert heard.of(*(said(phase=phase) for phase in phases)) == [(0, activity) for activity in phases.values()]
    heard.of(said(checkpointed_unix_ns=int((NOW_S - 300) * 1e9)), said(), said(checkpointed_unix_ns=int((NOW_S + 300) * 1e9)))
    assert [one.checkpointed_s for one in heard.told[:-1]] == [NOW_S - 300, None, NOW_S]  # nothing was saved in the future
    assert {one.step for one in heard.told} == {None}  # how far it is, its checkpoints tell


def test_words_of_jobs_that_do_not_run_and_old_ones_are_left_out(heard: Heard) -> None:
    assert heard.of(said("8"), said(ago_s=61.0)) == []
    heard.run(0, Phase.COMPLETING)
    heard.bus.producer().send(topics.PROGRESS, "7", said())
    time.sleep(0.2)
    heard.run(0)
    assert heard.of(said()) == [(0, Activity.CHECKPOINTING)]


def test_what_began_before_the_run_that_is_was_the_run_before(heard: Heard) -> None:
    """A detector may still speak of it."""
    assert heard.of(said(for_s=500.0)) == [(0, Activity.CHECKPOINTING)]  # we came while it ran
    heard.run(1)
    assert heard.of(said(for_s=500.0), said(for_s=3.0)) == [(1, Activity.CHECKPOINTING)]
    heard.now_s += 40.0
    assert heard.of(said(for_s=30.0), said(ago_s=-40.0, for_s=5.0)) == [(1, Activity.CHECKPOINTING)]


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        (b"\xff\xff", "record: is no JobProgress"),
        (said(version=2), "version: is 2, should be 1"),
        (said("7;reboot"), "job: '7;reboot' is not a job's id"),
        (said(phase=0), "phase: is 0, which is not known"),
        (said(phase=77), "phase: is 77, which is not known"),
        (said(ago_s=-61.0), "updated_unix_ns: is 61 s ahead of our clock"),
        (said(for_s=-9.0), "phase_since_unix_ns: is 9 s after updated_unix_ns"),
    ],
)
def test_what_cannot_be_is_refused_counted_and_said(heard: Heard, caplog: pytest.LogCaptureFixture, payload: bytes, says: str) -> None:
    before = REFUSED._value.get()
    with caplog.at_level(logging.WARNING):
        assert heard.of(payload, payload) == []
    assert REFUSED._value.get() == before + 2
    (line,) = caplog.messages  # once a minute
    assert line.startswith(f"a word of a job's progress is refused: {says}")
