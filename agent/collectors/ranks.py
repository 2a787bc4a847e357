"""Ranks of jobs on this node: what each has said of its process groups, and its script of its progress, since the last pass. See `rank_hook`."""

import time

from gpuwarden.agent.config import AgentConfig
from gpuwarden.agent.jobs import UNNAMED, Jobs
from gpuwarden.agent.rank_socket import Heard, RankSocket
from gpuwarden.agent.rank_words import ProgressWord
from gpuwarden.agent.reading import ProgressReading, RankReading, Reading, Unsupported


class Ranks:
    """What the kernel knows of a process's job goes before what the process says."""

    name = "ranks"

    def __init__(self, listening: RankSocket, jobs: Jobs) -> None:
        self._listening, self._jobs = listening, jobs

    def collect(self) -> Reading:
        now_s = time.monotonic()
        return Reading(comm=tuple(self._told(heard, now_s) for heard in self._listening.take()))

    def _told(self, heard: Heard, now_s: float) -> RankReading | ProgressReading:
        word, known = heard.word, self._jobs.of(heard.pid).id
        job = word.job if known in UNNAMED else known
        age_s = max(0.0, now_s - heard.at_s)
        if isinstance(word, ProgressWord):
            return ProgressReading(job, heard.pid, word.progress, age_s, heard.gone)
        return RankReading(job, word.rank, word.ranks, heard.pid, word.attempt, word.groups, word.timed, word.end, word.why, age_s, word.launcher)

    def close(self) -> None:
        self._listening.close()


def open(config: AgentConfig) -> Ranks:
    """Raises Unsupported where no socket is configured, or it cannot be made."""
    if config.rank_socket is None:
        raise Unsupported("not configured: there is no rank_socket")
    try:
        return Ranks(RankSocket(config.rank_socket), Jobs(config.proc, config.job_map))
    except OSError as why:
        raise Unsupported(f"rank_socket: {config.rank_socket}: {why.strerror or why}") from None
