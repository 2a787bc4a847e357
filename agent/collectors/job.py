"""How far the training of jobs on this node is, by their scripts' logs: `job_log.dir/JOB/*.log`, looked through with the operator's patterns.

A script that calls `gpuwarden_progress.tell` needs no log: the collector `ranks` hears it.
"""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Final

from gpuwarden.agent.config import AgentConfig, JobLogConfig
from gpuwarden.agent.reading import JobPhase, Progress, ProgressReading, Reading, Unsupported
from gpuwarden.agent.tail import Grown, Tail
from gpuwarden.core.nccl.fields import shown

MOST_LINE: Final = 4096
MOST_LOGS: Final = 256
MOST_STEP: Final = 2**53
MOST_READINGS: Final = 20  # of a log and pass: the newest, and those whose loss is no number
AGAIN_S: Final = 5.0  # what was said last is said again: the log is there, and says nothing new
NOTHING: Final = Progress(0, 0, None, None, JobPhase.TRAINING)


@dataclass(slots=True)
class _Log:
    """`said_s`: when `newest` was, by the monotonic clock; `told_s`: when it was last told on."""

    newest: Progress
    said_s: float
    told_s: float


class Job:
    """A log that has gone says that the job has ended."""

    name = "job"

    def __init__(self, config: JobLogConfig) -> None:
        self._dir = config.dir
        self._step = re.compile(config.step)
        self._pauses = [
            (phase, re.compile(pattern))
            for phase, pattern in ((JobPhase.CHECKPOINT, config.checkpoint), (JobPhase.EVALUATION, config.evaluation)) if pattern
        ]  # fmt: skip
        self._tail, self._logs, self._refused = Tail(MOST_LINE), dict[Path, _Log](), ""

    def collect(self) -> Reading:
        now_s, there = time.monotonic(), sorted(self._dir.glob("*/*.log"))[-MOST_LOGS:]
        readings = [reading for grown in self._tail.grown(there) for reading in self._read(grown, now_s)]
        for path, log in list(self._logs.items()):
            if path not in there:
                del self._logs[path]
                readings.append(_told(path, log, log.newest, now_s, ended=True))
            elif now_s - log.told_s >= AGAIN_S:
                log.told_s = now_s
                readings.append(_told(path, log, log.newest, now_s))
        return Reading(comm=tuple(readings), lacks=(self._refused,) if self._refused else ())

    def close(self) -> None:
        self._tail.close()

    def _read(self, grown: Grown, now_s: float) -> Iterator[ProgressReading]:
        said = list[Progress]()
        for line in grown.lines:
            newest = said[-1] if said else self._logs[grown.path].newest if grown.path in self._logs else NOTHING
            if (progress := self._progress(line.decode("utf-8", errors="replace"), newest)) is not None:
                said.append(progress)
        if said:
            self._logs[grown.path] = _Log(said[-1], now_s, now_s)
        changes = [one for one, after in pairwise(said) if one.phase is not after.phase or not _sound(one)]
        for progress in [*changes[-MOST_READINGS:], *said[-1:]]:
            yield _told(grown.path, self._logs[grown.path], progress, now_s)

    def _progress(self, line: str, newest: Progress) -> Progress | None:
        for phase, pattern in self._pauses:
            if pattern.search(line):
                return replace(newest, phase=phase, loss=None, grad_norm=None)
        if (found := self._step.search(line)) is None:
            return None
        told = found.groupdict()
        try:
            step = int(told["step"])
            loss, grad_norm = (float(text) if (text := told.get(name)) else None for name in ("loss", "grad_norm"))
        except (ValueError, TypeError):
            step = -1
        if not 0 <= step < MOST_STEP:
            self._refused = f"job_log.step: finds what are no numbers: {shown(told)}"
            return None
        return Progress(0, step, loss, grad_norm, JobPhase.TRAINING)


def _sound(progress: Progress) -> bool:
    return all(value is None or abs(value) < float("inf") for value in (progress.loss, progress.grad_norm))


def _told(path: Path, log: _Log, progress: Progress, now_s: float, ended: bool = False) -> ProgressReading:
    return ProgressReading(path.parent.name, 0, progress, now_s - log.said_s, ended)


def open(config: AgentConfig) -> Job:
    """Raises Unsupported where no logs are configured."""
    if config.job_log is None:
        raise Unsupported("not configured: there is no job_log")
    if not config.job_log.dir.is_dir():
        raise Unsupported(f"job_log.dir: {config.job_log.dir} is no folder")
    return Job(config.job_log)
