"""A real torchrun job on the CPU, watched by an agent and a detector that are processes of their own, with Apache Kafka between them."""

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from services.port import free_port, wait_until_open

from gpuwarden.core.bus import Bus, BusConfig, Consumer
from gpuwarden.core.connect import connect
from gpuwarden.proto import topics
from gpuwarden.proto.comm_pb2 import CommSummary
from gpuwarden.proto.finding_pb2 import Finding, FindingState
from gpuwarden.proto.progress_pb2 import JobProgress

SCRIPT = Path(__file__).parents[1] / "fakes" / "training.py"
COMMAND = [sys.executable, "-m", "gpuwarden.cli"]
START_S = 300.0  # Python takes some 8 s of a core for torch, in each rank
OF_RANKS = ("rank_hang", "rank_hang_unclear", "rank_dead", "rank_slow", "job_hang")


@dataclass(slots=True)
class Job:
    """One run of torchrun. `pids` by rank."""

    folder: Path
    launcher: subprocess.Popen[bytes]
    pids: dict[int, int]

    def fault(self, kind: str, rank: int) -> float:
        """Begins one of stop, kill, slow, gil; when, by the monotonic clock."""
        if kind in ("stop", "kill"):
            os.kill(self.pids[rank], signal.SIGSTOP if kind == "stop" else signal.SIGKILL)
        else:
            (self.folder / f"{kind}-{rank}").touch()
        return time.monotonic()

    def end(self) -> None:
        for pid in self.pids.values():
            _send(pid, signal.SIGCONT)
        self.launcher.terminate()
        try:
            self.launcher.wait(20)
        except subprocess.TimeoutExpired:
            self.launcher.kill()
            self.launcher.wait()
            for pid in self.pids.values():
                _send(pid, signal.SIGKILL)


@dataclass(slots=True)
class Watching:
    """`said`: findings of ranks and jobs, in order, each with when it came."""

    folder: Path
    socket: Path
    bus: Bus
    findings: Consumer
    processes: dict[str, subprocess.Popen[bytes]]
    ports: dict[str, int]
    said: list[tuple[float, Finding]] = field(default_factory=list)
    jobs: int = 0

    @contextmanager
    def job(self, ranks: int, tells: bool = False) -> Iterator[Job]:
        """Trains when this is entered. `tells`: of its steps."""
        self.jobs += 1
        folder = self.folder / f"job-{self.jobs}"
        folder.mkdir()
        if tells:
            (folder / "tells").touch()
        words = [*COMMAND, "torchrun", "--socket", str(self.socket), "--", "--nnodes=1", f"--nproc-per-node={ranks}"]
        words += ["--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0", f"--rdzv-id=job-{self.jobs}", str(SCRIPT), str(folder)]
        path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
        with (folder / "log").open("wb") as log:
            launcher = subprocess.Popen(words, stdout=log, stderr=log, env={**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"})
        job = Job(folder, launcher, {})
        try:
            until_s = time.monotonic() + START_S
            while len(job.pids) < ranks:
                assert launcher.poll() is None and time.monotonic() < until_s, (folder / "log").read_text()[-3000:]
                job.pids = {int(file.name[4:]): int(text) for file in folder.glob("pid-*") if (text := file.read_text())}
                time.sleep(0.1)
            yield job
        finally:
            job.end()

    def wait_for(self, what: Callable[[Finding], bool], within_s: float) -> tuple[float, Finding] | None:
        """The first from now on."""
        until_s = time.monotonic() + within_s
        while time.monotonic() < until_s:
            for at_s, finding in self.poll(0.2):
                if what(finding):
                    return at_s, finding
        return None

    def poll(self, timeout_s: float) -> list[tuple[float, Finding]]:
        records = self.findings.poll(timeout_s, 1000)
        now_s = time.monotonic()
        came = [(now_s, finding) for record in records if (finding := Finding.FromString(record.value)).kind in OF_RANKS]
        self.said += came
        return came

    def metric(self, daemon: str, name: str) -> int:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[daemon]}/metrics", timeout=5) as page:
            found = re.search(rf"^{name} ([0-9.e+]+)$", page.read().decode(), re.MULTILINE)
        assert found is not None, name
        return int(float(found[1]))

    def scores(self) -> list[JobProgress]:
        """All that was ever told of jobs, in order."""
        consumer, told = self.bus.consumer((topics.PROGRESS,), f"progress-{time.time_ns()}"), list[JobProgress]()
        while records := consumer.poll(6.0 if not told else 1.0, 1000):
            told += [JobProgress.FromString(record.value) for record in records]
        consumer.close()
        return told

    def counted(self) -> dict[str, int]:
        """Records of communication, counted where they come from, on the topic, and where they go."""
        consumer = self.bus.consumer((topics.COMM,), f"counts-{time.time_ns()}")
        node, count, patience_s = self.folder.name, 0, 6.0
        while records := consumer.poll(patience_s, 5000):
            count += sum(CommSummary.FromString(record.value).node == node for record in records)
            patience_s = 2.0
        consumer.close()
        return {
            "heard by the agent": self.metric("agent", "gpuwarden_agent_rank_words_total"), "on the topic": count,
            "judged by the detector": self.metric("detector", "gpuwarden_detector_comm_judged_total"),
            "given up by ranks": self.metric("agent", "gpuwarden_agent_rank_words_lost_total"),
            "refused": self.metric("agent", "gpuwarden_agent_rank_words_refused_total"),
            "missed by the detector": self.metric("detector", "gpuwarden_detector_comm_lost_total"),
            "came twice": self.metric("detector", "gpuwarden_detector_comm_repeated_total"),
        }  # fmt: skip


def firing(kind: str, rank: int | None = None) -> Callable[[Finding], bool]:
    """Any of a kind, or one that names the rank."""
    return lambda one: one.kind == kind and one.state == FindingState.FINDING_STATE_FIRING and (rank is None or one.subject.id.endswith(f"/{rank}"))


def _send(pid: int, signal_number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal_number)


@contextmanager
def watching(folder: Path, bootstrap: str) -> Iterator[Watching]:
    """Agent and detector run while this is open. The node is called like `folder`."""
    bus = connect(BusConfig(bootstrap=(bootstrap,), partitions=2))
    socket, ports = folder / "ranks.sock", {"agent": free_port(), "detector": free_port()}
    (folder / "agent.toml").write_text(
        f'node = "{folder.name}"\ncollectors = ["host", "ranks"]\nrank_socket = "{socket}"\nmetrics_listen = "127.0.0.1:{ports["agent"]}"\n'
        f'[bus]\nbootstrap = ["{bootstrap}"]\n'
    )
    (folder / "detector.toml").write_text(
        f'group = "gpuwarden-detector-{folder.name}"\nmetrics_listen = "127.0.0.1:{ports["detector"]}"\nstale_s = 60\n[bus]\nbootstrap = ["{bootstrap}"]\n'
    )
    processes = dict[str, subprocess.Popen[bytes]]()
    findings = bus.consumer((topics.FINDINGS,), f"live-{folder.name}", from_start=False)
    try:
        for name in ports:
            with (folder / f"{name}.log").open("ab") as log:
                processes[name] = subprocess.Popen([*COMMAND, name, "--config", str(folder / f"{name}.toml")], stdout=log, stderr=log)
        for name, process in processes.items():
            wait_until_open(ports[name], process, folder / f"{name}.log", 60.0)
        findings.poll(5.0, 1)
        yield Watching(folder, socket, bus, findings, processes, ports)
    finally:
        for process in processes.values():
            process.terminate()
        for process in processes.values():
            process.wait(20)
        findings.close()
