"""NCCL Inspector's logs of jobs on this node, as they are written: `inspector_dir/JOB/HOST-pidN.log`. What was there before the agent is not read."""

import heapq
import os
import re
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from prometheus_client import Counter as Counted

from gpuwarden.agent.config import AgentConfig
from gpuwarden.agent.inspector_ring import Ring
from gpuwarden.agent.inspector_rows import MOST_REASONS, Process
from gpuwarden.agent.jobs import UNNAMED, Jobs
from gpuwarden.agent.reading import Reading, TimedReading, TimesRow, Unsupported
from gpuwarden.agent.tail import Grown, Tail
from gpuwarden.core.nccl.inspector import MOST_BYTES

MOST_JOBS: Final = 64
MOST_PROCESSES: Final = 256
MOST_ROWS: Final = 500  # of a record
_NAME: Final = re.compile(r".+-pid(\d{1,9})\.log")

OPERATIONS: Final = Counted("gpuwarden_agent_inspector_operations_total", "Operations that NCCL Inspector told of")
REFUSED: Final = Counted("gpuwarden_agent_inspector_lines_refused_total", "Lines of NCCL Inspector's logs that could not be read")


class Inspector:
    """The kernel's word for a process's job goes before the name of its folder."""

    name = "inspector"

    def __init__(self, folder: Path, hosts: frozenset[str], jobs: Jobs, ring: Ring | None) -> None:
        self._folder, self._hosts, self._jobs, self._ring = folder, hosts, jobs, ring
        self._tail, self._processes = Tail(MOST_BYTES), dict[Path, Process]()
        self._unkept = set[str]()

    def collect(self) -> Reading:
        readings = tuple(one for grown in self._tail.grown(self._logs()) for one in self._read(grown))
        reasons = {why for process in self._processes.values() for why in process.reasons} | self._unkept
        return Reading(comm=readings, lacks=tuple(sorted(reasons)[:MOST_REASONS]))

    def close(self) -> None:
        self._tail.close()
        if self._ring is not None:
            self._ring.close()

    def _logs(self) -> Iterator[Path]:
        """Of the jobs that began last."""
        with os.scandir(self._folder) as found:
            jobs = [entry.path for entry in found if entry.is_dir(follow_symlinks=False)]
        for folder in heapq.nlargest(MOST_JOBS, jobs, key=_changed_s):
            with suppress(OSError), os.scandir(folder) as files:  # gone, or not ours to read
                yield from [Path(file.path) for file in files if _NAME.fullmatch(file.name)]

    def _read(self, grown: Grown) -> Iterator[TimedReading]:
        process = self._processes.pop(grown.path, None) or self._process(grown.path)
        if len(self._processes) >= MOST_PROCESSES:
            del self._processes[next(iter(self._processes))]  # the one that has been silent for longest
        self._processes[grown.path] = process
        before = process.refused
        rows = process.rows(grown.lines)
        if grown.too_long:
            process.refuse(f"line: has more than {MOST_BYTES} bytes", grown.too_long)
        REFUSED.inc(process.refused - before)
        OPERATIONS.inc(sum(len(row.took_us) for row in rows) // 4)
        self._keep(grown)
        return self._told(grown.path, process.pid, rows)

    def _keep(self, grown: Grown) -> None:
        try:
            if self._ring is not None:
                self._ring.keep(grown)
        except OSError as why:
            self._unkept = {f"inspector_ring: {why.strerror or why}"}
        else:
            self._unkept = set()

    def _process(self, path: Path) -> Process:
        named = _NAME.fullmatch(path.name)
        assert named is not None, "others are not looked at"
        return Process(int(named[1]), self._hosts)

    def _told(self, path: Path, pid: int, rows: tuple[TimesRow, ...]) -> Iterator[TimedReading]:
        known = self._jobs.of(pid).id
        job = path.parent.name if known in UNNAMED else known
        for begin in range(0, len(rows), MOST_ROWS):
            yield TimedReading(job, pid, rows[begin : begin + MOST_ROWS])


def _changed_s(folder: str) -> float:
    try:
        return os.stat(folder).st_mtime
    except OSError:
        return 0.0


def open(config: AgentConfig) -> Inspector:
    """Raises Unsupported where no folder is configured."""
    if config.inspector_dir is None:
        raise Unsupported("not configured: there is no inspector_dir")
    if not config.inspector_dir.is_dir():
        raise Unsupported(f"inspector_dir: {config.inspector_dir} is no folder")
    hosts = frozenset(name.partition(".")[0] for name in (socket.gethostname(), config.node) if name)
    try:
        ring = Ring(config.inspector_ring) if config.inspector_ring is not None else None
    except OSError as why:
        raise Unsupported(f"inspector_ring: {config.inspector_ring}: {why.strerror or why}") from None
    return Inspector(config.inspector_dir, hosts, Jobs(config.proc, config.job_map), ring)
