"""A scheduler that is none: it holds a Truth in memory, changes only that, and says what it would have done."""

import logging
from collections.abc import Collection, Sequence
from dataclasses import replace

from gpuwarden.controller.schedulers.conditions import (
    check_drain,
    check_exclude,
    check_requeue,
    check_resume,
    out_for,
)
from gpuwarden.controller.schedulers.names import check_job, check_node, check_nodes, check_reason
from gpuwarden.controller.schedulers.scheduler import Availability, JobTruth, NodeTruth, Phase, Refused, Truth

_log = logging.getLogger("gpuwarden.scheduler")


class DryRun:
    """From the nodes that it begins with, all of which take work, and jobs that are put there. One thread at a time may call."""

    def __init__(self, nodes: Collection[str]) -> None:
        self._nodes = {node: NodeTruth(node, Availability.AVAILABLE) for node in nodes}
        self._jobs: dict[str, JobTruth] = {}

    def put(self, job: JobTruth) -> None:
        """A job as it now is, in the place of what was known of it."""
        self._jobs[job.job] = job

    def truth(self) -> Truth:
        return Truth({node: self._with_jobs(found) for node, found in self._nodes.items()}, dict(self._jobs))

    def drain(self, node: str, reason: str) -> None:
        check_reason(reason)
        found = self._node(node)
        check_drain(found, reason)
        if not out_for(found, reason):
            _log.info("dry run: would drain %s: %s", node, reason)
            self._nodes[node] = NodeTruth(node, Availability.DRAINED, reason)

    def resume(self, node: str, reason: str) -> None:
        check_reason(reason)
        check_resume(self._node(node), reason)
        _log.info("dry run: would resume %s", node)
        self._nodes[node] = NodeTruth(node, Availability.AVAILABLE)

    def requeue(self, job: str, restarts_seen: int) -> None:
        found = self._job(job)
        check_requeue(found, restarts_seen)
        _log.info("dry run: would requeue %s from %s", job, ", ".join(found.nodes))
        self._jobs[job] = replace(found, phase=Phase.PENDING, nodes=(), restarts=found.restarts + 1)

    def exclude(self, job: str, nodes: Sequence[str]) -> None:
        check_nodes(nodes)
        found = self._job(job)
        check_exclude(found, nodes)
        for node in nodes:
            self._node(node)
        _log.info("dry run: would not start %s on %s", job, ", ".join(nodes))
        self._jobs[job] = replace(found, excluded=tuple(dict.fromkeys((*found.excluded, *nodes))))

    def _with_jobs(self, node: NodeTruth) -> NodeTruth:
        jobs = tuple(job.job for job in self._jobs.values() if node.node in job.nodes)
        draining = node.availability is Availability.DRAINED and bool(jobs)
        return replace(node, jobs=jobs, availability=Availability.DRAINING if draining else node.availability)

    def _node(self, node: str) -> NodeTruth:
        check_node(node)
        if node not in self._nodes:
            raise Refused(f"node: {node} is not one of ours")
        return self._with_jobs(self._nodes[node])

    def _job(self, job: str) -> JobTruth:
        check_job(job)
        if job not in self._jobs:
            raise Refused(f"job: the dry run knows of no {job}")
        return self._jobs[job]
