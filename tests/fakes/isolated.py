"""A controller that isolates on a dry run, and what outlives it: a bus, a scheduler and a ledger."""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from fakes.limiters import KEY

from gpuwarden.controller import isolating
from gpuwarden.controller.config import ControllerConfig
from gpuwarden.controller.isolation.config import GroupConfig, IsolationConfig
from gpuwarden.controller.ledger import Ledger
from gpuwarden.controller.main import ControllerShell
from gpuwarden.controller.schedulers.dry_run import DryRun
from gpuwarden.controller.schedulers.scheduler import JobTruth, Kind, Phase
from gpuwarden.controller.scheduling import Scheduling
from gpuwarden.core.bus_memory import MemoryBus
from gpuwarden.proto import topics
from gpuwarden.proto.finding_pb2 import Finding, FindingState, Severity, Subject, SubjectKind

NODES = ("n0", "n1", "n2", "n3")
KEYS = dict.fromkeys(NODES, KEY)
JOB = JobTruth("7", Phase.RUNNING, Kind.BATCH, ("n1", "n2"), 0, 2, requeueable=True)


def wait_for(true: Callable[[], object], within_s: float = 10) -> None:
    until_s = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < until_s
        time.sleep(0.02)


class Counted(DryRun):
    """Counts what it is asked to do, and outlives the controller, as a scheduler does."""

    def __init__(self) -> None:
        super().__init__(NODES)
        self.asked: list[str] = []

    def end(self, job: JobTruth) -> None:
        self.put(replace(job, phase=Phase.ENDED, nodes=()))

    def drain(self, node: str, reason: str) -> None:
        self.asked.append(f"drain {node}")
        super().drain(node, reason)

    def requeue(self, job: str, restarts_seen: int) -> None:
        self.asked.append(f"requeue {job}")
        super().requeue(job, restarts_seen)

    def resume(self, node: str, reason: str) -> None:
        self.asked.append(f"resume {node}")
        super().resume(node, reason)


class Site:
    """A bus, a scheduler and a ledger that outlive controllers."""

    def __init__(self, config: ControllerConfig, scheduler: Counted) -> None:
        self.config, self.scheduler, self.bus = config, scheduler, MemoryBus()
        self._producer = self.bus.producer()

    def set(self, mode: str, **more: object) -> None:
        self.config = replace(self.config, isolation=IsolationConfig((GroupConfig("all", NODES, mode, mode, "matmul"),), **more))

    def run(self, events_dir: Path | None = None) -> ControllerShell:
        return ControllerShell(self.config, KEYS, lambda stop: self.bus, events_dir)

    def say(self, kind: str, *, node: str = "n1", part: str = "GPU-0", firing: bool = True) -> None:
        state = FindingState.FINDING_STATE_FIRING if firing else FindingState.FINDING_STATE_RESOLVED
        self._producer.send(topics.FINDINGS, node, Finding(
            version=1, id=f"{kind}/{node}", kind=kind, subject=Subject(kind=SubjectKind.SUBJECT_KIND_GPU, node=node, id=part), state=state,
            severity=Severity.SEVERITY_CRITICAL, summary=f"{kind} on {node}", since_unix_ns=time.time_ns(),
        ).SerializeToString())  # fmt: skip

    def say_two(self) -> None:
        """Two independent witnesses."""
        self.say("gpu_missing")
        self.say("gpu_nvlink_down")

    def kinds(self) -> list[str]:
        """Of the ledger's lines of isolation, in order, those that were done, and others in brackets."""
        ledger = Ledger(self.config.ledger_file)
        lines = reversed(ledger.newest(1000))
        ledger.close()
        return [line.kind if line.performed else f"({line.kind})" for line in lines if line.kind not in ("epoch", "notify")]


def site_of(config: ControllerConfig, monkeypatch: pytest.MonkeyPatch) -> Site:
    """In auto; job 7 runs on n1 and n2."""
    scheduler = Counted()
    monkeypatch.setattr(isolating, "KINDS", {"dry-run": lambda nodes, kubeconfig: scheduler})
    monkeypatch.setattr(isolating, "Scheduling", partial(Scheduling, every_s=0.2))
    scheduler.put(JOB)
    made = Site(config, scheduler)
    made.set("auto")
    return made
