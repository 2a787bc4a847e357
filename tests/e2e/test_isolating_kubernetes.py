"""The whole controller on Kubernetes' API server: two findings on the bus, and a PyTorchJob is off the node that they accuse, with nobody typing anything.

Kubelets and the operator are played: `services/kube_cluster.py`.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fakes.limiters import KEY
from services.kube_cluster import NODES, KubeCluster

from gpuwarden.controller import isolating
from gpuwarden.controller.config import ControllerConfig
from gpuwarden.controller.isolation.config import GroupConfig, IsolationConfig
from gpuwarden.controller.isolation.rails import one_effect
from gpuwarden.controller.main import ControllerShell
from gpuwarden.controller.power.domain import DomainConfig
from gpuwarden.controller.power.node_class import NodeClass
from gpuwarden.controller.scheduling import Scheduling
from gpuwarden.core.address import Address
from gpuwarden.core.bus_memory import MemoryBus
from gpuwarden.proto import topics
from gpuwarden.proto.finding_pb2 import Finding, FindingState, Severity, Subject, SubjectKind


def finding(node: str, kind: str) -> bytes:
    return Finding(
        version=1, id=f"{kind}/{node}", kind=kind, subject=Subject(kind=SubjectKind.SUBJECT_KIND_GPU, node=node, id="GPU-0"), summary=kind,
        state=FindingState.FINDING_STATE_FIRING, severity=Severity.SEVERITY_CRITICAL, since_unix_ns=time.time_ns(),
    ).SerializeToString()  # fmt: skip


class Played:
    """The cluster while its kubelets end what was asked to end, and its operator puts pods that are missing on n3 and n4."""

    def __init__(self, cluster: KubeCluster) -> None:
        self.cluster, self.evicted = cluster, set[str]()

    def until(self, true: Callable[[], object], within_s: float = 30.0) -> None:
        until_s = time.monotonic() + within_s
        while not true():
            assert time.monotonic() < until_s
            self.evicted |= {pod["metadata"]["uid"] for pod in self.cluster.pods() if pod["metadata"].get("deletionTimestamp")}
            self.cluster.play_kubelets()
            time.sleep(0.1)

    def start_anew(self, job: str) -> None:
        for index, node in enumerate(("n3", "n4")):
            self.cluster.pod(f"{job}-again-{index}", node, self.cluster.row("pytorchjob", job))

    def kept_off(self, job: str) -> str:
        return str(self.cluster.row("pytorchjob", job)["spec"]["pytorchReplicaSpecs"]["Master"]["template"]["spec"].get("affinity"))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolating, "Scheduling", partial(Scheduling, every_s=0.5))
    monkeypatch.setattr(one_effect, "RETRY_S", 1.0)


@pytest.fixture
def run(kube_cluster: KubeCluster, tmp_path: Path, quick: None) -> Callable[[], ControllerShell]:
    """A controller with a ledger that outlives it, and a bus on which two findings accuse n2."""
    bus, row = MemoryBus(), DomainConfig("row", 60e3, (NodeClass("h100", NODES),))
    isolation = IsolationConfig((GroupConfig("all", NODES, "auto", "auto"),), scheduler="kubernetes", kubeconfig=kube_cluster.kubeconfig)
    config = ControllerConfig(ledger_file=tmp_path / "ledger", keys_dir=tmp_path, domains=(row,), listen=Address("127.0.0.1", 0))
    for kind in ("gpu_missing", "gpu_nvlink_down"):
        bus.producer().send(topics.FINDINGS, "n2", finding("n2", kind))
    return lambda: ControllerShell(replace(config, isolation=isolation), dict.fromkeys(NODES, KEY), lambda stop: bus)


def test_a_node_is_cordoned_and_its_job_restarted_and_kept_off_it_once_over_a_restart(
    kube_cluster: KubeCluster, run: Callable[[], ControllerShell]
) -> None:
    job = kube_cluster.training("n1", "n2", spec={"nodeSelector": {"zone": "a"}})
    others, played = kube_cluster.training("n4"), Played(kube_cluster)
    with run() as shell:
        played.until(lambda: "n2" in played.kept_off(job))
        played.start_anew(job)
        played.until(lambda: states(shell) == ["repairing"])
    with run() as shell:
        played.until(lambda: (seen := shell.board.newest()) and [node.quarantine for node in seen.isolation.nodes] == ["q1"])
        played.until(lambda: not shell.board.newest().isolation.scheduler_lost)
    node = kube_cluster.node("n2")
    assert node["metadata"]["annotations"]["gpuwarden/reason"].startswith("gpuwarden:q1") and node["spec"]["unschedulable"] is True
    assert len(played.evicted) == 2
    assert '"restarts":1' in kube_cluster.row("pytorchjob", job)["metadata"]["annotations"]["gpuwarden/requeued"]
    left = {pod["metadata"]["name"] for pod in kube_cluster.pods()}
    assert left == {f"{job}-again-0", f"{job}-again-1", f"{others}-master"}


def test_a_budget_that_says_no_is_asked_again_until_it_does_not(kube_cluster: KubeCluster, run: Callable[[], ControllerShell]) -> None:
    job, played = kube_cluster.training("n1", "n2", spec={"nodeSelector": {"zone": "a"}}), Played(kube_cluster)
    kube_cluster.budget("keep", job, allowed=1)
    with run() as shell:
        said = f"requeue/team/pytorchjob/{job}/0: later: job: team/pytorchjob/{job}: PodDisruptionBudget keep lets 1 of its 2 pods there go"
        played.until(lambda: (seen := shell.board.newest()) and any(line.reason == said for line in seen.actions))
        assert played.evicted == set() and kube_cluster.node("n2")["spec"]["unschedulable"] is True
        kube_cluster.gone("/apis/policy/v1/namespaces/team/poddisruptionbudgets/keep")
        played.until(lambda: len(played.evicted) == 2)


def states(shell: ControllerShell) -> list[Any]:
    newest = shell.board.newest()
    return [node.state for node in newest.isolation.nodes] if newest else []
