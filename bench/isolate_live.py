"""A card is lost under a real torchrun job on a real Slurm: how long until the job goes on elsewhere, with nobody typing anything; and with the controller killed at each step.

    python bench/isolate_live.py [--kill each | STEP,...] [--hold-s 5] [--json FILE]

Four nodes (slurmd, agent, a simulated card each), Apache Kafka, a detector and a controller, all processes of their own. On the CPU, with gloo, a job of two nodes trains
and saves every fifth step. Then a rank is stopped (SIGSTOP) and its node's card falls off the bus: what XID 79 does to a process. Isolation is in auto. Slurm holds a requeued
job back for as long as its credential may be valid, 120 s as installed, --hold-s here: that is Slurm's part of the restart, and not ours to shorten.

Drains and requeues are counted where they have their effect: in slurmctld's own log, and by the job's count of restarts. Ends with 1 if a case did not go on, or
one of them was not exactly one.
"""

import argparse
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from fakes.nvml.steer import FakeNode
from services import kafka, slurm
from services.port import free_port, wait_until_open
from services.slurm import NODES
from services.stack import write_keys

from gpuwarden.proto.control_pb2 import Action

TRAINING: Final = Path(__file__).parents[1] / "tests" / "fakes" / "requeued_training.py"
CLI: Final = (sys.executable, "-m", "gpuwarden.cli")
WARM_S: Final = 20.0  # of training: its patience is learnt, and a checkpoint was seen
START_S: Final = 240.0
RATE: Final = 0.002  # of learning: the loss falls for some hundreds of steps
WITHIN_S: Final = 300.0
AWAY_S: Final = 1.0  # from the kill to the next controller
# Where the controller is killed: as soon as such a line of the ledger is durable.
STEPS: Final[dict[str, Callable[[Action], bool]]] = {
    "finding": lambda line: line.kind == "notify",
    "suspect": lambda line: line.kind == "node" and "healthy to suspect" in line.reason,
    "drain ordered": lambda line: line.kind == "drain",
    "drain done": lambda line: line.kind == "outcome" and line.reason.startswith("drain/"),
    "drain seen": lambda line: line.kind == "node" and "to draining" in line.reason,
    "requeue ordered": lambda line: line.kind == "requeue",
    "requeue done": lambda line: line.kind == "outcome" and line.reason.startswith("requeue/"),
    "exclude ordered": lambda line: line.kind == "exclude",
    "exclude done": lambda line: line.kind == "outcome" and line.reason.startswith("exclude/"),
}


@dataclass(slots=True)
class Site:
    """What runs, in `folder`."""

    folder: Path
    broker: kafka.Broker
    cluster: slurm.Slurm
    ports: dict[str, int]
    gpus: dict[str, FakeNode]
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str, verb: str, env: dict[str, str]) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            command = [*CLI, verb, "--config", str(self.folder / f"{name}.toml")]
            self.processes[name] = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **env})
        if name in self.ports:
            wait_until_open(self.ports[name], self.processes[name], self.folder / f"{name}.log", START_S)

    def start_controller(self) -> None:
        self.start("controller", "controller", {name: self.cluster.env[name] for name in ("PATH", "SLURM_CONF")})

    def kill_controller(self) -> None:
        self.processes["controller"].kill()
        self.processes["controller"].wait()

    def lines(self) -> list[Action]:
        """Of the ledger, oldest first."""
        made = list[Action]()
        with closing(sqlite3.connect(f"file:{self.folder}/ledger.sqlite?mode=ro", uri=True, timeout=5.0)) as ledger:
            for unix_ns, payload in ledger.execute("SELECT unix_ns, payload FROM line ORDER BY id"):
                made.append(Action.FromString(payload))
                made[-1].unix_ns = unix_ns
        return made

    def losses(self, job: str) -> list[dict[str, Any]]:
        file = self.folder / "jobs" / job / "losses"
        return [json.loads(line) for line in file.read_text().splitlines() if line.endswith("}")] if file.exists() else []


@contextmanager
def site(folder: Path, cluster: slurm.Slurm) -> Iterator[Site]:
    with ExitStack() as opened:
        (folder / "kafka").mkdir()
        broker = opened.enter_context(kafka.running(folder / "kafka"))
        gpus = {node: opened.enter_context(FakeNode(folder / f"{node}.gpus", gpus=1, seed=seed)) for seed, node in enumerate(NODES)}
        made = Site(folder, broker, cluster, {"controller": free_port()}, gpus)
        try:
            _configure(made)
            made.start_controller()
            made.start("detector", "detector", {})
            for node in NODES:
                made.start(f"agent-{node}", "agent", gpus[node].env())
            yield made
        finally:
            for process in made.processes.values():
                process.terminate()
            for process in made.processes.values():
                process.wait(20)


def _configure(made: Site) -> None:
    write_keys(made.folder / "keys", NODES)
    (made.folder / "jobs").mkdir()
    bus = f'[bus]\nbootstrap = ["{made.broker.bootstrap}"]\npartitions = 2\n'
    names = json.dumps(list(NODES))
    (made.folder / "controller.toml").write_text(
        f'listen = "127.0.0.1:{made.ports["controller"]}"\nledger_file = "{made.folder}/ledger.sqlite"\nkeys_dir = "{made.folder}/keys"\n{bus}'
        f'[[domains]]\nname = "row"\nrating_w = 60000\n[[domains.classes]]\nname = "fake"\ngpus = 1\nnodes = {names}\n'
        f'[isolation]\nscheduler = "slurm"\ncheckpoints = "{made.folder}/jobs/{{job}}/checkpoints"\n'
        f'[[isolation.groups]]\nname = "all"\nnodes = {names}\nisolation = "auto"\nrestart = "auto"\n'
    )
    (made.folder / "detector.toml").write_text(bus)
    for node in NODES:
        (made.folder / f"agent-{node}.toml").write_text(
            f'node = "{node}"\ncollectors = ["nvml", "host", "ranks"]\nrank_socket = "{made.folder}/{node}.sock"\n{bus}'
        )


def script(folder: Path) -> str:
    """What a user would submit, but for ports of one machine's own."""
    words = (
        f"{' '.join(CLI)} torchrun --socket {folder}/$SLURMD_NODENAME.sock -- --nnodes=2 --nproc-per-node=1 --rdzv-backend=c10d"
        f" --rdzv-endpoint=127.0.0.1:$((SLURM_RESTART_COUNT ? {free_port()} : {free_port()})) --rdzv-id=$SLURM_JOB_ID {TRAINING} {folder}/jobs/$SLURM_JOB_ID {RATE}"
    )
    path = f"{Path(sys.executable).parent}:$PATH"
    return f"mkdir -p {folder}/jobs/$SLURM_JOB_ID\nexport OMP_NUM_THREADS=1 PATH={path}\nexec srun --ntasks-per-node=1 sh -c 'exec {words}'"


def rank_on(node: str, job: str) -> int:
    """The process that trains there."""
    for place in Path("/proc").iterdir():
        try:
            environ, command = (place / "environ").read_bytes().split(b"\0"), (place / "cmdline").read_bytes()
        except OSError:
            continue
        ours = {f"SLURMD_NODENAME={node}".encode(), f"SLURM_JOB_ID={job}".encode()} <= set(environ)
        if ours and TRAINING.name.encode() in command and any(one.startswith(b"LOCAL_RANK=") for one in environ):
            return int(place.name)
    raise AssertionError(f"no rank of job {job} on {node}")


def until(true: Callable[[], object], what: str, within_s: float) -> float:
    """When it became true, by the wall clock, which is the ledger's."""
    until_s = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < until_s, f"not within {within_s:.0f} s: {what}"
        time.sleep(0.02)
    return time.time()


def case(made: Site, kill_at: str) -> dict[str, Any]:
    """One fault, and what came of it. `kill_at` empty: the controller lives."""
    job = made.cluster.submit(script(made.folder), "--requeue", "--nodes=2")
    until(lambda: made.losses(job), "it trains", START_S)
    time.sleep(WARM_S)
    bad = made.cluster.tool("squeue", "--noheader", f"--jobs={job}", "--format=%N")
    bad = made.cluster.tool("scontrol", "show", "hostnames", bad).split()[-1]
    pid, known = rank_on(bad, job), len(made.lines())
    began_s = time.time()
    os.kill(pid, signal.SIGSTOP)
    made.gpus[bad].lose(0)
    if kill_at:
        until(lambda: any(STEPS[kill_at](line) for line in made.lines()[known:]), kill_at, WITHIN_S)
        made.kill_controller()
        time.sleep(AWAY_S)
        made.start_controller()
    until(lambda: _phase(made, job) == "PENDING", "requeued", WITHIN_S)
    gone_s = time.time()
    before = [line for line in made.losses(job) if line["restarts"] == 0]
    up_s = until(lambda: _phase(made, job) == "RUNNING", "it starts again", WITHIN_S)
    nodes = made.cluster.tool("scontrol", "show", "hostnames", made.cluster.tool("squeue", "--noheader", f"--jobs={job}", "--format=%N")).split()
    until(lambda: [line for line in made.losses(job) if line["restarts"] == 1 and line["step"] > before[-1]["step"]], "it is where it was", START_S)
    on_s = time.time()
    told = _told(made, job, bad, nodes, before, began_s, known)
    told["seconds"] |= {"nothing left of it": gone_s - began_s, "started again": up_s - began_s, "where it was": on_s - began_s}
    made.cluster.end_everything()
    return {"killed_at": kill_at or "never", **told}


def _phase(made: Site, job: str) -> str:
    return made.cluster.tool("squeue", "--noheader", f"--jobs={job}", "--format=%T")


def _told(made: Site, job: str, bad: str, nodes: Sequence[str], before: list[dict[str, Any]], began_s: float, known: int) -> dict[str, Any]:
    """Seconds since the fault by stage, and counts."""
    lines, again = made.lines()[known:], [line for line in made.losses(job) if line["restarts"] == 1]
    stages = {
        "first finding": lambda line: line.kind == "notify" and bad in line.subject, "rank named": lambda line: line.kind == "notify" and f" of job {job}" in line.reason,
        "drain ordered": STEPS["drain ordered"], "drain seen": STEPS["drain seen"], "requeue ordered": STEPS["requeue ordered"], "requeue done": STEPS["requeue done"],
    }  # fmt: skip
    seconds = {name: next((line.unix_ns / 1e9 - began_s for line in lines if true(line)), None) for name, true in stages.items()}
    log = made.cluster.log_whole()
    first = {line["step"]: line["loss"] for line in before}
    apart = [abs(line["loss"] - first[line["step"]]) / first[line["step"]] for line in again if line["step"] in first]
    return {
        "seconds": seconds, "bad": bad, "nodes": list(nodes),
        "drains": log.count(f"node {bad} reason set to: gpuwarden:q"), "drain_lines": sum(line.kind == "drain" and line.performed for line in lines),
        "requeues": int(_field(made.cluster.tool("scontrol", "show", "job", job), "Restarts")),
        "requeue_lines": sum(line.kind == "requeue" and line.performed for line in lines),
        "steps": {"before": before[-1]["step"], "from": again[0]["step"] - 1, "lost": before[-1]["step"] - again[0]["step"] + 1},
        "loss": {"first": before[0]["loss"], "before": before[-1]["loss"], "again": again[0]["loss"], "apart": max(apart, default=None)},
    }  # fmt: skip


def _field(text: str, name: str) -> str:
    return next(word.partition("=")[2] for word in text.split() if word.startswith(f"{name}="))


def sound(told: dict[str, Any]) -> bool:
    """Elsewhere, from a checkpoint; steps done twice have the loss that they had; and one drain, one requeue."""
    moved = told["bad"] not in told["nodes"] and len(told["nodes"]) == 2
    steps, loss = told["steps"], told["loss"]
    same = steps["lost"] == 0 if loss["apart"] is None else loss["apart"] < 1e-3
    goes_on = steps["from"] > 0 and same and loss["again"] < loss["first"] / 2
    return moved and goes_on and told["drains"] == told["requeues"] == 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kill", default="", help="each, or steps by comma: " + ", ".join(STEPS))
    parser.add_argument("--hold-s", type=int, default=5, help="for how long Slurm's credentials are valid")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    kills = ["", *STEPS] if args.kill == "each" else args.kill.split(",")
    done = list[dict[str, Any]]()
    with tempfile.TemporaryDirectory() as scratch, slurm.running(_folder(scratch, "slurm"), args.hold_s, "linuxproc") as cluster:
        for number, kill_at in enumerate(kills):
            cluster.forget_log()
            cluster.patience_s = START_S
            with site(_folder(scratch, f"case-{number}"), cluster) as made:
                done.append(case(made, kill_at))
            print("\n".join(_lines(done[-1])), flush=True)
    if args.json:
        args.json.write_text(json.dumps({"hold_s": args.hold_s, "cases": done}, indent=1) + "\n", encoding="utf-8")
    return 0 if all(map(sound, done)) else 1


def _folder(scratch: str, name: str) -> Path:
    folder = Path(scratch) / name
    folder.mkdir()
    return folder


def _lines(told: dict[str, Any]) -> Iterator[str]:
    yield f"controller killed at: {told['killed_at']}; {told['bad']} out, the job goes on on {', '.join(told['nodes'])}: {'sound' if sound(told) else 'NOT SOUND'}"
    yield "  seconds since the fault: " + ", ".join(f"{name} {at_s:.1f}" if at_s is not None else f"{name} -" for name, at_s in told["seconds"].items())
    yield f"  {told['drains']} drain and {told['requeues']} requeue of it in Slurm; lines in the ledger: {told['drain_lines']} and {told['requeue_lines']}"
    steps, loss = told["steps"], told["loss"]
    yield f"  {steps['lost']} steps lost: at {steps['before']}, on from {steps['from']}; loss {loss['first']:.2f} at first, {loss['before']:.3f} before, {loss['again']:.3f} again"


if __name__ == "__main__":
    raise SystemExit(main())
