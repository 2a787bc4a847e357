"""All of gpuwarden in separate processes, on simulated GPUs: what a test or a bench of the whole chain stands on."""

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from fakes.nvml.steer import FakeNode
from services.port import free_port, wait_until_open

from gpuwarden.core.version import VERSION

LEASE_S = 5.0
START_S = 20.0
NEXT_VERSION = f"{VERSION}+next"
THIS_RELEASE = ("-m", "gpuwarden.cli")
NEXT_RELEASE = (  # the next one, as far as others can tell: another version, which also speaks a session that ours does not know
    "-c",
    (f"import gpuwarden.core.version as v; v.VERSION = '{NEXT_VERSION}'; v.SESSION = v.Versions(v.SESSION.lowest, v.SESSION.highest + 1);"
    "from gpuwarden.cli.main import main; raise SystemExit(main())"),
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to start. `domain` is TOML for one `[[domains]]` table without its nodes, `agents` for every agent; `bootstrap` empty: no Kafka.
    `controller_tables` and `agent_tables` are TOML that ends the files.

    `others`: nodes of the domain as well, with keys of theirs, whose part somebody else plays.
    """

    nodes: tuple[str, ...]
    domain: str
    bootstrap: str = ""
    gpus: int = 8
    events: bool = False
    agents: str = ""
    lease_s: float = LEASE_S
    others: tuple[str, ...] = ()
    controller_tables: str = ""
    agent_tables: str = ""


@dataclass(slots=True)
class Stack:
    """The running processes by name: `controller`, `detector`, `agent-NODE`, `limiter-NODE`."""

    plan: Plan
    folder: Path
    port: int
    gpus: dict[str, FakeNode] = field(default_factory=dict)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    metrics: dict[str, int] = field(default_factory=dict)
    """The loopback port at which each process but the limiters serves /metrics."""
    release: tuple[str, ...] = THIS_RELEASE
    """What is started from now on."""

    @property
    def server(self) -> str:
        return f"127.0.0.1:{self.port}"

    def kill(self, name: str) -> None:
        """SIGKILL: what a crash does."""
        self.processes[name].kill()
        self.processes[name].wait()

    def end(self, name: str) -> None:
        """SIGTERM: what a restart begins with."""
        self.processes[name].terminate()
        self.processes[name].wait(10.0)

    def start(self, name: str, *command: str, env: dict[str, str] | None = None) -> None:
        events = ["--events", str(self.folder / "events")] if self.plan.events else []
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, *self.release, *command, *events],
                stdout=log, stderr=log, env={**os.environ, **(env or {})}, cwd=self.folder,
            )

    def start_controller(self) -> None:
        self.start("controller", "controller", "--config", str(self.folder / "controller.toml"))
        wait_until_open(self.port, self.processes["controller"], self.folder / "controller.log", START_S)

    def start_agent(self, node: str) -> None:
        self.start(f"agent-{node}", "agent", "--config", str(self.folder / f"agent-{node}.toml"), env=self.gpus[node].env())

    def start_limiter(self, node: str) -> None:
        config = str(self.folder / f"limiter-{node}.toml")
        self.start(f"limiter-{node}", "limiter", "--config", config, env=self.gpus[node].env())

    def stop(self) -> None:
        for process in self.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(10.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def control_plane(folder: Path, plan: Plan) -> Iterator[Stack]:
    """The controller, and the detector if there is a Kafka. Logs, keys and configurations lie in `folder`."""
    made = Stack(plan, folder, free_port())
    try:
        write_keys(folder / "keys", (*plan.nodes, *plan.others))
        (folder / "controller.toml").write_text(controller_config(made))
        made.start_controller()
        if plan.bootstrap:
            (folder / "detector.toml").write_text(_metrics(made, "detector") + _bus(plan))
            made.start("detector", "detector", "--config", str(folder / "detector.toml"))
        yield made
    finally:
        made.stop()


@contextmanager
def running(folder: Path, plan: Plan) -> Iterator[Stack]:
    """All of it, each node with its limiter and its agent on simulated cards."""
    with ExitStack() as gpus, control_plane(folder, plan) as made:
        for seed, node in enumerate(plan.nodes):
            made.gpus[node] = gpus.enter_context(FakeNode(folder / f"{node}.gpus", gpus=plan.gpus, seed=seed))
            (folder / f"limiter-{node}.toml").write_text(limiter_config(made, node))
            (folder / f"agent-{node}.toml").write_text(agent_config(made, node))
            made.start_limiter(node)
            made.start_agent(node)
        yield made


def write_keys(folder: Path, nodes: Sequence[str]) -> None:
    folder.mkdir(mode=0o700)
    for node in nodes:
        path = folder / f"{node}.key"
        path.touch(mode=0o600)
        path.write_text(secrets.token_hex(32))


def _metrics(stack: Stack, name: str) -> str:
    port = stack.metrics.setdefault(name, free_port())
    return f'metrics_listen = "127.0.0.1:{port}"\n'


def _bus(plan: Plan) -> str:
    return f'[bus]\nbootstrap = ["{plan.bootstrap}"]\n' if plan.bootstrap else ""


def controller_config(stack: Stack) -> str:
    nodes = ", ".join(f'"{node}"' for node in (*stack.plan.nodes, *stack.plan.others))
    return f"""
listen = "{stack.server}"
ledger_file = "{stack.folder / "ledger.sqlite"}"
keys_dir = "{stack.folder / "keys"}"
lease_s = {stack.plan.lease_s}
{_metrics(stack, "controller")}
[[domains]]
{stack.plan.domain}
[[domains.classes]]
name = "fake"
gpus = {stack.plan.gpus}
nodes = [{nodes}]

{stack.plan.controller_tables}
{_bus(stack.plan)}"""


def limiter_config(stack: Stack, node: str) -> str:
    return f"""
node = "{node}"
socket = "{stack.folder / node}.sock"
key_file = "{stack.folder / "keys" / node}.key"
state_file = "{stack.folder / node}.state"
floor_w = 200.0
"""


def agent_config(stack: Stack, node: str) -> str:
    return f"""
node = "{node}"
controller = "{stack.server}"
limiter_socket = "{stack.folder / node}.sock"
{stack.plan.agents}
{_metrics(stack, f"agent-{node}")}
{stack.plan.agent_tables}
{_bus(stack.plan)}"""
