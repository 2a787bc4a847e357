"""One place for each scheduler of jobs, in which the contract suite does the same things."""

import time
from collections.abc import Callable
from contextlib import suppress

from services.kube_cluster import KubeCluster
from services.slurm import Slurm as Cluster

from gpuwarden.controller.schedulers.dry_run import DryRun
from gpuwarden.controller.schedulers.scheduler import JobTruth, Kind, Phase, Scheduler, Truth, Unreachable

OURS, THEIRS = "gpuwarden: q7 GPU 3 fell off the bus, n1 asks \"why\" and 'how' in 5 % of a=b,c", "admin: fan"
SLEEP = "exec sleep 600"
WAIT_S = 20.0


class Place:
    """A scheduler, and what others than us do there. `theirs`: the reason that somebody else's drain is told with."""

    theirs = THEIRS

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler

    def truth(self) -> Truth:
        return self.scheduler.truth()

    def job_on(self, *nodes: str) -> str:
        """The id of a batch job that asks for these by name, and runs there."""
        raise NotImplementedError

    def waiting_job(self, held: bool = False) -> str:
        raise NotImplementedError

    def somebody_drains(self, node: str, reason: str) -> None:
        raise NotImplementedError

    def end(self, job: str) -> None:
        raise NotImplementedError

    def until(self, true: Callable[[Truth], bool]) -> Truth:
        until_s = time.monotonic() + WAIT_S
        while not true(truth := self.truth()):
            assert time.monotonic() < until_s, truth
            time.sleep(0.03)
        return truth


class DryPlace(Place):
    scheduler: DryRun

    def job_on(self, *nodes: str) -> str:
        self.scheduler.put(JobTruth("1", Phase.RUNNING, Kind.BATCH, nodes, 0, len(nodes), True, required=nodes))
        return "1"

    def waiting_job(self, held: bool = False) -> str:
        self.scheduler.put(JobTruth("2", Phase.HELD if held else Phase.PENDING, Kind.BATCH, (), 0, 2, True, ("n2",)))
        return "2"

    def somebody_drains(self, node: str, reason: str) -> None:
        self.scheduler.drain(node, reason)

    def end(self, job: str) -> None:
        ended = self.truth().jobs[job]
        self.scheduler.put(JobTruth(job, Phase.ENDED, ended.kind, (), ended.restarts, ended.nodes_min, True))


class SlurmPlace(Place):
    def __init__(self, scheduler: Scheduler, cluster: Cluster) -> None:
        super().__init__(scheduler)
        self.cluster = cluster

    def job_on(self, *nodes: str) -> str:
        job = self.cluster.submit(SLEEP, "--requeue", f"--nodes={len(nodes)}", f"--nodelist={','.join(nodes)}")
        self.until(lambda truth: truth.jobs[job].phase is Phase.RUNNING)
        return job

    def waiting_job(self, held: bool = False) -> str:
        later = "--hold" if held else "--begin=now+1hour"
        return self.cluster.submit(SLEEP, "--requeue", later, "--nodes=2", "--exclude=n2")

    def somebody_drains(self, node: str, reason: str) -> None:
        self.cluster.tool("scontrol", "update", f"NodeName={node}", "State=DRAIN", f"Reason={reason}")

    def end(self, job: str) -> None:
        self.cluster.tool("scancel", job)


class KubernetesPlace(Place):
    """Its jobs are PyTorchJobs: of the kinds that are restarted the one that can be kept off nodes."""

    theirs = "cordoned by kubectl-cordon"

    def __init__(self, scheduler: Scheduler, cluster: KubeCluster) -> None:
        super().__init__(scheduler)
        self.cluster = cluster

    def truth(self) -> Truth:
        self.cluster.play_kubelets()
        return super().truth()

    def until_raises(self, kind: type[Exception], says: str) -> None:
        """Rights come and go a moment after they were given or taken."""
        until_s = time.monotonic() + WAIT_S
        while True:
            try:
                self.scheduler.truth()
            except kind as why:
                if says in str(why):
                    return
            assert time.monotonic() < until_s, says
            time.sleep(0.03)

    def until_answers(self) -> None:
        until_s = time.monotonic() + WAIT_S
        while True:
            with suppress(Unreachable):
                self.scheduler.truth()
                return
            assert time.monotonic() < until_s
            time.sleep(0.03)

    def job_on(self, *nodes: str) -> str:
        return f"team/pytorchjob/{self.cluster.training(*nodes)}"

    def waiting_job(self, held: bool = False) -> str:
        kept_off = [{"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "NotIn", "values": ["host-n2"]}]}]
        affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": kept_off}}}
        name = self.cluster.training("", "", spec={"affinity": affinity}, suspend=held, pods=not held)
        return f"team/pytorchjob/{name}"

    def somebody_drains(self, node: str, reason: str) -> None:
        self.cluster.cordon(node, "kubectl-cordon")

    def end(self, job: str) -> None:
        name = job.rpartition("/")[2]
        for pod in self.cluster.pods():
            if pod["metadata"]["labels"]["job"] == name:
                self.cluster.gone(self.cluster.path("pod", pod["metadata"]["name"]))
        self.cluster.gone(self.cluster.path("pytorchjob", name))
