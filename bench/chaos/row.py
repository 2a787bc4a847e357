"""A row of nodes on simulated cards, every daemon under a supervisor that obeys its systemd unit."""

import random
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from fakes.nvml.steer import FakeNode
from services import stack
from services.port import free_port
from services.supervisor import Supervised

from chaos.link import Link

UNITS: Final = Path(__file__).resolve().parents[2] / "deploy" / "systemd"
GPUS, FLOOR_W, DEFAULT_W, HOST_W, SLOPE = 8, 200.0, 700.0, 2300.0, 1.1
START_S = 40.0
DEMANDS_W: Final = (380.0, 690.0)
PROGRAM: Final = {"/opt/gpuwarden/bin/gpuwarden": f"{sys.executable} -m gpuwarden.cli"}


@dataclass
class Row:
    """`services` by name: `controller`, `agent-NODE`, `limiter-NODE`, with Kafka also `detector` and `recorder`."""

    folder: Path
    nodes: tuple[str, ...]
    budget_w: float
    controller_port: int
    gpus: dict[str, FakeNode] = field(default_factory=dict)
    links: dict[str, Link] = field(default_factory=dict)
    services: dict[str, Supervised] = field(default_factory=dict)
    period_s: float = 0.5
    """From one pass of an agent to the next."""
    logs_events: bool = True
    down_s: float = 0.0
    """How long the controller was away when it was last restarted."""
    steady_load: threading.Event = field(default_factory=threading.Event)
    """While it is set no demand changes."""
    remarks: list[str] = field(default_factory=list)
    """What a fault measured of itself."""
    undone: list[str] = field(default_factory=list)
    """What a fault should have been and was not: its line then shows nothing."""

    @property
    def events(self) -> Path:
        return self.folder / "events"

    def logging(self, config: Path) -> str:
        """What stands after --config."""
        return f"{config} --events {self.events}" if self.logs_events else str(config)

    def limits_w(self, node: str) -> tuple[float, ...]:
        return tuple(self.gpus[node].limit_w(gpu) for gpu in range(GPUS))

    def draw_w(self) -> float:
        """What the breaker sees."""
        return sum(HOST_W + SLOPE * sum(gpus.true_power_w(gpu) for gpu in range(GPUS)) for gpus in self.gpus.values())

    def remark(self, said: str, true: bool = True) -> None:
        """`true`: whether the fault was what it is called."""
        (self.remarks if true else self.undone).append(said)

    def granted(self, node: str) -> bool:
        """Above the floor, and by a grant: cards that nobody has limited yet are at their default, which no share comes to."""
        limits_w = self.limits_w(node)
        return min(limits_w) > FLOOR_W + 50.0 and max(limits_w) < DEFAULT_W

    def wait_until_granted(self, timeout_s: float = 60.0) -> float:
        """Until every node is above its floor, and all are within the budget: seconds that it took."""
        return wait_until(
            lambda: all(map(self.granted, self.nodes)) and self._within_budget(), timeout_s, "not every node is granted its share"
        )

    def hold_load(self) -> None:
        """From now on every card wants all it may have, and no demand changes: caps have no reason to move."""
        self.steady_load.set()
        time.sleep(1.0)
        for gpus in self.gpus.values():
            gpus.set_demands(DEMANDS_W[1])

    def _within_budget(self) -> bool:
        return may_draw_w({node: self.limits_w(node) for node in self.nodes}) <= self.budget_w

    def supervise(self, name: str, unit: str, substitutions: dict[str, str], env: dict[str, str] | None = None) -> Supervised:
        made = Supervised(UNITS / f"gpuwarden-{unit}.service", PROGRAM | substitutions, env or {}, self.folder / f"{name}.log")
        self.services[name] = made.__enter__()
        return made


def may_draw_w(limits_w: Mapping[str, Sequence[float]]) -> float:
    """What the breaker may see under these limits of all cards, by node."""
    return sum(HOST_W + SLOPE * sum(of_node_w) for of_node_w in limits_w.values())


def wait_until(true: Callable[[], bool], timeout_s: float, otherwise: str) -> float:
    """Seconds that it took; AssertionError if it did not come true."""
    start_s = time.monotonic()
    while not true():
        assert time.monotonic() - start_s < timeout_s, f"{otherwise} after {timeout_s:g} s"
        time.sleep(0.05)
    return time.monotonic() - start_s


@contextmanager
def running(folder: Path, nodes: tuple[str, ...], per_node_w: float, bootstrap: Sequence[str] = (), more: str = "", **kind: Any) -> Iterator[Row]:
    """A row under a load that wanders, in auto, with every node above its floor.

    The budget is `per_node_w` a node, `dead_nodes` at its default included. `more` of the controller's TOML; `kind` of Row.
    """
    budget_w = per_node_w * len(nodes)
    row = Row(folder, nodes, budget_w, free_port(), **kind)
    domain = f'name = "row"\nrating_w = {budget_w}\nmode = "auto"\n'
    plan = stack.Stack(stack.Plan(nodes, domain, '", "'.join(bootstrap), GPUS), folder, row.controller_port)
    stack.write_keys(folder / "keys", nodes)
    with ExitStack() as opened:
        opened.callback(_stop, row)
        (folder / "controller.toml").write_text(more + stack.controller_config(plan))
        start_controller(row)
        for seed, node in enumerate(nodes):
            row.gpus[node] = opened.enter_context(FakeNode(folder / f"{node}.gpus", gpus=GPUS, seed=seed))
            row.links[node] = Link(row.controller_port)
            opened.callback(row.links[node].close)
            _start_node(row, plan, node)
        stop = threading.Event()
        threading.Thread(target=_wander, args=(row, stop), daemon=True).start()
        opened.callback(stop.set)
        row.wait_until_granted()
        yield row


def start_controller(row: Row, name: str = "controller") -> Supervised:
    made = row.supervise(name, "controller", {"/etc/gpuwarden/controller.toml": row.logging(row.folder / f"{name}.toml")})
    made.wait_ready(START_S)
    return made


def start_data_path(row: Row, bootstrap: Sequence[str]) -> Path:
    """Detector and recorder, ready; the recorder's folder. One file holds for both: a `[bus]` table."""
    config, history = row.folder / "detector.toml", row.folder / "history"
    listed = '", "'.join(bootstrap)
    config.write_text(f'[bus]\nbootstrap = ["{listed}"]\n')
    row.supervise("detector", "detector", {"/etc/gpuwarden/detector.toml": row.logging(config)})
    paths = {"/etc/gpuwarden/recorder.toml": str(config), "/var/lib/gpuwarden-recorder": f"{history} --flush-s 5"}
    row.supervise("recorder", "recorder", paths)
    for name in ("detector", "recorder"):
        row.services[name].wait_ready(60.0)
    return history


def _start_node(row: Row, plan: stack.Stack, node: str) -> None:
    limiter, agent, at = row.folder / f"limiter-{node}.toml", row.folder / f"agent-{node}.toml", f"{row.folder / node}.sock"
    limiter.write_text(stack.limiter_config(plan, node))
    spool = f'spool_file = "{row.folder / node}.spool"\nperiod_s = {row.period_s}\n'
    agent.write_text(spool + stack.agent_config(plan, node).replace(plan.server, f"127.0.0.1:{row.links[node].port}"))
    env = row.gpus[node].env()
    paths = {"/etc/gpuwarden/limiter.toml": row.logging(limiter), "/run/gpuwarden/limiter.sock": at}
    row.supervise(f"limiter-{node}", "limiter", paths, env)
    row.supervise(f"agent-{node}", "agent", {"/etc/gpuwarden/agent.toml": row.logging(agent)}, env)
    for name in (f"limiter-{node}", f"agent-{node}"):
        row.services[name].wait_ready(START_S)


def _stop(row: Row) -> None:
    for name in sorted(row.services, key=lambda name: name.startswith("limiter")):
        row.services[name].stop()


def _wander(row: Row, stop: threading.Event) -> None:
    """A demand of its own for every card, anew every few seconds."""
    chance = random.Random(1)
    while not stop.wait(0.5):
        for node in row.nodes if not row.steady_load.is_set() else ():
            row.gpus[node].set_demand(chance.randrange(GPUS), chance.uniform(*DEMANDS_W))
