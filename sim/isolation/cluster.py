"""A scheduler of jobs in virtual time that keeps the contract of `controller/schedulers`, unless it is told to fail, to lie or to lag."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from gpuwarden.controller.schedulers.scheduler import (
    Availability,
    JobTruth,
    Kind,
    NodeTruth,
    Phase,
    Refused,
    Truth,
    Unreachable,
)

START_S: Final = 120.0  # a requeued job does not start before (Slurm's cred_expire)
KILL_S: Final = 30.0  # its processes take so long to end (KillWait)


@dataclass(slots=True)
class VirtualNode:
    """`reason` is empty where it takes work."""

    name: str
    reason: str = ""
    down: bool = False


@dataclass(slots=True)
class VirtualJob:
    """`left` are nodes that it has been stopped on and whose processes still end; `since_s`: when its phase began."""

    id: str
    nodes: tuple[str, ...]
    nodes_min: int
    kind: Kind = Kind.BATCH
    requeueable: bool = True
    phase: Phase = Phase.RUNNING
    restarts: int = 0
    excluded: tuple[str, ...] = ()
    since_s: float = 0.0
    left: tuple[str, ...] = ()
    wanted: int = 0
    stuck: bool = False  # its processes do not end


@dataclass(slots=True)
class VirtualCluster:
    """`answers` False: nothing is heard of it. `mute`: it does what it is told, and the answer is lost. `lies`: it says yes and does nothing.
    `forbids`: it refuses every drain. `lagging`: its truth is that of a while ago. `hold_s`: a requeued job does not start before."""

    now_s: float = 0.0
    nodes: dict[str, VirtualNode] = field(default_factory=dict)
    jobs: dict[str, VirtualJob] = field(default_factory=dict)
    answers: bool = True
    mute: bool = False
    lies: bool = False
    forbids: bool = False
    lagging: Truth | None = None
    hold_s: float = START_S
    effects: list[tuple[str, str, str]] = field(default_factory=list)  # what was done: verb, node or job, reason or restarts

    def truth(self) -> Truth:
        self._reached()
        return self.lagging if self.lagging is not None else self.actual()

    def actual(self) -> Truth:
        """As it is, whoever may ask."""
        jobs = [job for job in self.jobs.values() if job.phase is not Phase.ENDED]
        there: dict[str, tuple[str, ...]] = {}
        for job in jobs:
            for name in {*job.nodes, *job.left}:
                there[name] = (*there.get(name, ()), job.id)
        nodes = {node.name: _node_truth(node.name, node.reason, node.down, there.get(node.name, ())) for node in self.nodes.values()}
        return Truth(nodes, {job.id: _job_truth(job) for job in jobs})

    def drain(self, node: str, reason: str) -> None:
        self._reached()
        one = self._node(node)
        if self.forbids:
            raise Refused("user: may not drain nodes")
        if one.reason not in ("", reason):
            raise Refused(f"node: {node} is drained already: {one.reason}")
        if not self.lies and one.reason != reason:
            one.reason = reason
            self.effects.append(("drain", node, reason))
        self._answered()

    def resume(self, node: str, reason: str) -> None:
        self._reached()
        one = self._node(node)
        if one.reason != reason:
            raise Refused(f"node: {node} is not drained for {reason!r} but for {one.reason!r}")
        if not self.lies:
            one.reason = ""
            self.effects.append(("resume", node, reason))
        self._answered()

    def requeue(self, job: str, restarts_seen: int) -> None:
        self._reached()
        one = self.jobs.get(job)
        if one is None or one.phase is not Phase.RUNNING:
            raise Refused(f"job: {job} does not run")
        if not one.requeueable:
            raise Refused(f"job: {job} may not be requeued")
        if one.restarts != restarts_seen:
            raise Refused(f"job: {job} was started anew since, {one.restarts} times by now")
        if not self.lies:
            self.effects.append(("requeue", job, str(restarts_seen)))
            self.stop(one)
        self._answered()

    def exclude(self, job: str, nodes: Sequence[str]) -> None:
        self._reached()
        one = self.jobs.get(job)
        if one is None or one.phase not in (Phase.PENDING, Phase.HELD):
            raise Refused(f"job: {job} does not wait")
        if not self.lies:
            one.excluded = tuple(dict.fromkeys((*one.excluded, *nodes)))
        self._answered()

    def stop(self, job: VirtualJob) -> None:
        """It waits to start again, one restart older."""
        job.phase, job.left, job.nodes = Phase.PENDING, job.nodes, ()
        job.restarts, job.since_s = job.restarts + 1, self.now_s

    def pass_time(self, now_s: float) -> None:
        """Processes end, and jobs that wait start where there is room."""
        self.now_s = now_s
        for job in self.jobs.values():
            if job.left and not job.stuck and now_s - job.since_s >= KILL_S:
                job.left = ()
            if job.phase is Phase.PENDING and not job.left and now_s - job.since_s >= self.hold_s:
                self._start(job)

    def _start(self, job: VirtualJob) -> None:
        busy = {node for other in self.jobs.values() for node in (*other.nodes, *other.left)}
        free = [node.name for node in self.nodes.values() if not (node.reason or node.down or node.name in busy or node.name in job.excluded)]
        if len(free) >= job.nodes_min:
            job.nodes, job.phase, job.since_s = tuple(free[: max(job.nodes_min, job.wanted)]), Phase.RUNNING, self.now_s

    def _node(self, name: str) -> VirtualNode:
        if name not in self.nodes:
            raise Refused(f"node: there is no {name}")
        return self.nodes[name]

    def _reached(self) -> None:
        if not self.answers:
            raise Unreachable("no answer within 10 s")

    def _answered(self) -> None:
        if self.mute:
            raise Unreachable("the answer was lost")


@lru_cache(maxsize=4096)
def _node_truth(name: str, reason: str, down: bool, jobs: tuple[str, ...]) -> NodeTruth:
    if down:
        return NodeTruth(name, Availability.DOWN, reason or "Not responding", jobs)
    if not reason:
        return NodeTruth(name, Availability.AVAILABLE, "", jobs)
    return NodeTruth(name, Availability.DRAINING if jobs else Availability.DRAINED, reason, jobs)


def _job_truth(job: VirtualJob) -> JobTruth:
    return JobTruth(job.id, job.phase, job.kind, job.nodes, job.restarts, job.nodes_min, job.requeueable, job.excluded)


def cluster_of(nodes: Iterable[str]) -> VirtualCluster:
    return VirtualCluster(nodes={name: VirtualNode(name) for name in nodes})
