"""How jobs get on by their own word, as detectors publish it (progress.v1): a job that checkpoints, evaluates or starts stands still without being ill.

How far a job is, is not taken from here but from its checkpoints: what it has trained since is lost with it.
"""

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from threading import Event, Thread
from typing import Final

from google.protobuf.message import DecodeError
from prometheus_client import Counter

from gpuwarden.controller.findings import Connect
from gpuwarden.controller.isolation.events import JobTold
from gpuwarden.controller.isolation.records import Activity
from gpuwarden.controller.schedulers.names import check_job
from gpuwarden.controller.schedulers.scheduler import JobTruth, Phase, Refused, Truth
from gpuwarden.core.bus import BusError, Record
from gpuwarden.proto import topics
from gpuwarden.proto.progress_pb2 import JobPhase, JobProgress

GROUP: Final = "gpuwarden-controller-progress"
VERSION: Final = 1
MOST_RECORDS: Final = 500
STALE_S: Final = 60.0  # detectors say it every ten seconds
CLOCKS_S: Final = 60.0  # so much may a detector's clock be ahead of ours
BEGUN_S: Final = 30.0  # before we see that a job runs anew, and the clocks of two machines
_SAY_S: Final = 60.0
_POLL_S: Final = 0.5
_PAUSE_S: Final = 1.0
_STOP_S: Final = 1.5
_ACTIVITIES: Final = {
    JobPhase.JOB_PHASE_STARTING: Activity.STARTING, JobPhase.JOB_PHASE_TRAINING: Activity.TRAINING,
    JobPhase.JOB_PHASE_CHECKPOINT: Activity.CHECKPOINTING, JobPhase.JOB_PHASE_EVALUATION: Activity.EVALUATING,
    JobPhase.JOB_PHASE_ENDED: Activity.FINALIZING,
}  # fmt: skip

REFUSED: Final = Counter("gpuwarden_isolation_words_refused_total", "Words of jobs' progress that cannot be")

_log = logging.getLogger("gpuwarden.isolation")


@dataclass(frozen=True, slots=True)
class Word:
    """What one record says, checked. Times are unix seconds by the detector's clock."""

    job: str
    activity: Activity
    said_s: float
    since_s: float
    checkpointed_s: float | None


def word_of(payload: bytes, now_s: float) -> Word:
    """ValueError with field and reason."""
    try:
        told = JobProgress.FromString(payload)
    except DecodeError:
        raise ValueError("record: is no JobProgress") from None
    if told.version != VERSION:
        raise ValueError(f"version: is {told.version}, should be {VERSION}")
    try:
        check_job(told.job_id)
    except Refused as why:
        raise ValueError(str(why)) from None
    if told.phase not in _ACTIVITIES:
        raise ValueError(f"phase: is {told.phase}, which is not known")
    said_s, since_s = told.updated_unix_ns / 1e9, told.phase_since_unix_ns / 1e9
    if said_s > now_s + CLOCKS_S:
        raise ValueError(f"updated_unix_ns: is {said_s - now_s:.0f} s ahead of our clock")
    if since_s > said_s:
        raise ValueError(f"phase_since_unix_ns: is {since_s - said_s:.0f} s after updated_unix_ns")
    checkpointed_s = min(told.checkpointed_unix_ns / 1e9, now_s) if told.checkpointed_unix_ns else None
    return Word(told.job_id, _ACTIVITIES[told.phase], said_s, since_s, checkpointed_s)


class JobWords:
    """Reads in a thread of its own until `stop` is set. `truth`: what the scheduler was last seen to hold; a word of a job that does not run there is left out."""

    def __init__(
        self, connect: Connect, truth: Callable[[], Truth | None], offer: Callable[[JobTold], bool], stop: Event, clock: Callable[[], float] = time.time
    ) -> None:
        self._connect, self._truth, self._offer, self._stop, self._clock = connect, truth, offer, stop, clock
        self._runs = dict[str, tuple[int, float]]()  # of each job: which, and since when it is known to be that one
        self._said_s = float("-inf")
        self._thread = Thread(target=self._run, name="job-words", daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Once `stop` is set. A bus that does not answer is not waited for."""
        self._thread.join(_STOP_S)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with closing(self._connect(self._stop).consumer([topics.PROGRESS], GROUP)) as consumer:
                    while not self._stop.is_set():
                        records = consumer.poll(_POLL_S, MOST_RECORDS)
                        self._take(records)
                        consumer.commit({(record.topic, record.partition): record.offset + 1 for record in records})
            except BusError as why:
                if not self._stop.is_set():
                    _log.warning("progress of jobs: %s", why)
                    self._stop.wait(_PAUSE_S)

    def _take(self, records: Sequence[Record]) -> None:
        """Where there is no room it is left out: it is said again soon."""
        truth, now_s = self._truth(), self._clock()
        if truth is None:
            return
        self._runs = {job: run for job, run in self._runs.items() if job in truth.jobs}
        for record in records:
            try:
                word = word_of(record.value, now_s)
            except ValueError as why:
                self._refuse(str(why), now_s)
                continue
            job = truth.jobs.get(word.job)
            if job is not None and job.phase is Phase.RUNNING and now_s - word.said_s < STALE_S and self._is_of(job, word, now_s):
                self._offer(JobTold(word.job, job.restarts, word.activity, None, word.checkpointed_s))

    def _is_of(self, job: JobTruth, word: Word, now_s: float) -> bool:
        """Of the run that the scheduler tells of: what began before that is of the one before, which a detector may still speak of."""
        restarts, since_s = self._runs.get(job.job, (job.restarts, float("-inf")))
        if restarts != job.restarts:
            since_s = now_s
        self._runs[job.job] = (job.restarts, since_s)
        return word.since_s >= since_s - BEGUN_S

    def _refuse(self, why: str, now_s: float) -> None:
        REFUSED.inc()
        if now_s - self._said_s >= _SAY_S:
            self._said_s = now_s
            _log.warning("a word of a job's progress is refused: %s", why)
