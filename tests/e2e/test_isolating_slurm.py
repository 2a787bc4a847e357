"""The whole controller on a real Slurm: two findings on the bus, and a job is off the node that they accuse, with nobody typing anything.

A torchrun job that trains, real findings, Kafka and a controller that is killed at each step are in `bench/isolate_live.py`: it takes minutes a case.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.limiters import KEY
from services.slurm import NODES
from services.slurm import Slurm as Cluster

from gpuwarden.controller.config import ControllerConfig
from gpuwarden.controller.isolation.config import GroupConfig, IsolationConfig
from gpuwarden.controller.main import ControllerShell
from gpuwarden.controller.power.domain import DomainConfig
from gpuwarden.controller.power.node_class import NodeClass
from gpuwarden.core.address import Address
from gpuwarden.core.bus_memory import MemoryBus
from gpuwarden.proto import topics
from gpuwarden.proto.finding_pb2 import Finding, FindingState, Severity, Subject, SubjectKind


def finding(node: str, kind: str) -> bytes:
    return Finding(
        version=1, id=f"{kind}/{node}", kind=kind, subject=Subject(kind=SubjectKind.SUBJECT_KIND_GPU, node=node, id="GPU-0"), summary=kind,
        state=FindingState.FINDING_STATE_FIRING, severity=Severity.SEVERITY_CRITICAL, since_unix_ns=time.time_ns(),
    ).SerializeToString()  # fmt: skip


def field(cluster: Cluster, what: str, name: str, key: str) -> str:
    words = cluster.tool("scontrol", "show", what, name).split()
    return next((word.partition("=")[2] for word in words if word.startswith(f"{key}=")), "")


def wait_until(true: Callable[[], object], within_s: float = 30.0) -> None:
    until_s = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < until_s
        time.sleep(0.1)


def test_a_node_is_drained_and_its_job_requeued_and_kept_off_it_once_over_a_restart(
    slurm_cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slurm_cluster.end_everything()
    for name in ("PATH", "SLURM_CONF"):
        monkeypatch.setenv(name, slurm_cluster.env[name])
    others = slurm_cluster.submit("exec sleep 600", "--requeue", "--nodelist=n4")
    job = slurm_cluster.submit("exec sleep 600", "--requeue", "--nodes=2", "--exclude=n4")
    slurm_cluster.wait_until(lambda: field(slurm_cluster, "job", job, "JobState") == "RUNNING")
    bad = slurm_cluster.tool("scontrol", "show", "hostnames", field(slurm_cluster, "job", job, "NodeList")).split()[-1]
    bus, row = MemoryBus(), DomainConfig("row", 60e3, (NodeClass("h100", NODES),))
    isolation = IsolationConfig((GroupConfig("all", NODES, "auto", "auto"),), scheduler="slurm")
    config = ControllerConfig(ledger_file=tmp_path / "ledger", keys_dir=tmp_path, domains=(row,), listen=Address("127.0.0.1", 0))
    config = replace(config, isolation=isolation)
    producer = bus.producer()
    producer.send(topics.FINDINGS, bad, finding(bad, "gpu_missing"))
    producer.send(topics.FINDINGS, bad, finding(bad, "gpu_nvlink_down"))
    keys = dict.fromkeys(NODES, KEY)
    with ControllerShell(config, keys, lambda stop: bus) as shell:
        wait_until(lambda: bad in field(slurm_cluster, "job", job, "ExcNodeList").split(","))
        wait_until(lambda: [node.state for node in shell.board.newest().isolation.nodes] == ["repairing"])
    with ControllerShell(config, keys, lambda stop: bus) as shell:
        wait_until(lambda: (seen := shell.board.newest()) and [node.quarantine for node in seen.isolation.nodes] == ["q1"])
        wait_until(lambda: not shell.board.newest().isolation.scheduler_lost)
    assert field(slurm_cluster, "node", bad, "Reason") == "gpuwarden:q1" and "DRAIN" in field(slurm_cluster, "node", bad, "State")
    assert (field(slurm_cluster, "job", job, "Restarts"), field(slurm_cluster, "job", job, "JobState")) == ("1", "PENDING")
    assert (field(slurm_cluster, "job", others, "Restarts"), field(slurm_cluster, "job", others, "JobState")) == ("0", "RUNNING")
