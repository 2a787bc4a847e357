"""How far running jobs are, as their checkpoints tell: a thread of its own, since a shared file system may hang."""

from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread
from typing import Final

from gpuwarden.controller.checkpoints.checkpoint import NoCheckpoint
from gpuwarden.controller.checkpoints.newest import newest
from gpuwarden.controller.isolation.config import JOB
from gpuwarden.controller.isolation.events import JobTold
from gpuwarden.controller.isolation.records import Activity
from gpuwarden.controller.schedulers.names import check_job
from gpuwarden.controller.schedulers.scheduler import JobTruth, Phase, Refused, Truth

LOOK_S: Final = 10.0
_CLOSE_S: Final = 1.0


class Progress:
    """From construction to `close`. `pattern` is a folder's path with {job} in it; `truth` tells which jobs run."""

    def __init__(self, pattern: str, truth: Callable[[], Truth | None], offer: Callable[[JobTold], bool], look_s: float = LOOK_S) -> None:
        self._pattern, self._truth, self._offer, self._look_s = pattern, truth, offer, look_s
        self._said = dict[str, tuple[int, float]]()
        self._ended = Event()
        self._thread = Thread(target=self._run, name="progress", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """A file system that hangs is not waited for."""
        self._ended.set()
        self._thread.join(_CLOSE_S)

    def _run(self) -> None:
        while not self._ended.wait(self._look_s):
            if (truth := self._truth()) is not None:
                running = [job for job in truth.jobs.values() if job.phase is Phase.RUNNING]
                self._said = {job: said for job, said in self._said.items() if job in truth.jobs}
                for job in running:
                    self._look(job)

    def _look(self, job: JobTruth) -> None:
        """Once for each checkpoint and run. A job that has none yet tells nothing."""
        try:
            check_job(job.job)
            found = newest(Path(self._pattern.replace(JOB, job.job)))
        except (NoCheckpoint, Refused):
            return
        known = (job.restarts, found.written_s)
        told = JobTold(job.job, job.restarts, Activity.UNKNOWN, found.step, found.written_s)
        if self._said.get(job.job) != known and self._offer(told):
            self._said[job.job] = known
