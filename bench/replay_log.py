"""A recorded power log in real time through Kafka and gRPC: broker, detector, controller and the row in separate processes.

    python bench/replay_log.py FILE [--budget-w 420000] [--duration 300] [--json FILE]

This process plays the row: a real agent and a real limiter for each node of the log, on simulated cards, each with a gRPC session of
its own; their telemetry goes to Apache Kafka. Counted are records acknowledged by the broker here, and records judged in the detector.
"""

import argparse
import json
import queue
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from services import kafka, stack

from gpuwarden.agent.events import Event
from gpuwarden.agent.session import ControllerSession
from gpuwarden.controller.ledger import Ledger
from gpuwarden.core.address import Address
from gpuwarden.core.bus import BusConfig, Producer
from gpuwarden.core.connect import connect
from gpuwarden.core.private import read_key
from gpuwarden.proto import topics
from gpuwarden.sim.node import Node, Wires
from gpuwarden.sim.pace import Pace
from gpuwarden.sim.plant import STEP_S, Plant
from gpuwarden.sim.powerlog import RecordedLoad, read
from gpuwarden.sim.tally import Tally
from gpuwarden.sim.timeline import Timeline
from gpuwarden.sim.watch import Watch

GPUS, HOST_W, SLOPE, FLOOR_W, SEED = 8, 2300.0, 1.10, 200.0, 1
HEAR_S = 0.005
JUDGED_WITHIN_S = 30.0


class Field:
    """The log's nodes in this process, paced by the wall clock."""

    def __init__(self, load: RecordedLoad, keys: Path, server: str, producer: Producer, budget_w: float, opened: ExitStack) -> None:
        self.time, self.tally = Timeline(), Tally()
        self._load, self._budget_w, self._producer = load, budget_w, producer
        chance = np.random.default_rng(SEED)
        self._plant = Plant(load.host_w, GPUS, SLOPE, chance)
        self._heard: queue.SimpleQueue[tuple[Node, Event]] = queue.SimpleQueue()
        self._acknowledged = threading.Semaphore(0)
        self.nodes = [self._node(name, row, chance, read_key(keys / f"{name}.key")) for row, name in enumerate(load.nodes)]
        for node in self.nodes:
            session = ControllerSession(Address("127.0.0.1", int(server.rpartition(":")[2])), None, node.name, partial(self._hear, node))
            opened.callback(session.close)
            node.wires = Wires(session.send, partial(self._send, node.name), lambda who, say: None)
            node.connect()
        self.acknowledged = 0
        self._plan()

    def _node(self, name: str, row: int, chance: np.random.Generator, key: bytes) -> Node:
        return Node(name, row, self._plant, self.time, chance, key, FLOOR_W, Watch())

    def _plan(self) -> None:
        self.time.every(STEP_S, self._advance)
        self.time.every(HEAR_S, self._listen)
        self.time.every(0.1, self._read_powers, first_s=0.1)
        self._samples = self._load.samples()
        self._next_sample()

    def _advance(self) -> None:
        self._plant.demand_w[:] = self._load.demands_w(self.time.now_s)
        self._plant.advance()
        self.tally.power(float(self._plant.wanted_w().sum()), float(self._plant.node_w().sum()), self._budget_w, STEP_S)

    def _read_powers(self) -> None:
        for node in self.nodes:
            node.read_power()

    def _next_sample(self) -> None:
        if (sample := next(self._samples, None)) is not None:
            self.time.at(sample[0], partial(self._look, sample[1]))

    def _look(self, node: int) -> None:
        self.nodes[node].look(time.time_ns())
        self._next_sample()

    def _hear(self, node: Node, event: Event) -> None:
        """From a session's thread."""
        self._heard.put((node, event))

    def _listen(self) -> None:
        while not self._heard.empty():
            node, event = self._heard.get()
            node.hear(event)

    def _send(self, node: str, payload: bytes) -> None:
        self.tally.samples_sent += 1
        self._producer.send(topics.TELEMETRY, node, payload, self._done)

    def _done(self, failure: Exception | None) -> None:
        if failure is None:
            self.acknowledged += 1  # the producer's one thread calls


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--budget-w", type=float, default=420_000.0)
    parser.add_argument("--duration", type=float, default=300.0)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = _run(Path(folder), args)
    print(json.dumps(result, indent=1))
    if args.json:
        args.json.write_text(json.dumps(result) + "\n")
    return 0 if result["samples_sent"] == result["samples_judged"] and result["over_budget_s"] == 0 else 1


def _run(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    load = RecordedLoad(read(args.file).until(args.duration), GPUS, HOST_W, SLOPE)
    domain = f'name = "row"\nrating_w = {args.budget_w}\nmode = "auto"\n'
    with ExitStack() as opened:
        (folder / "kafka").mkdir()
        broker = opened.enter_context(kafka.running(folder / "kafka"))
        plan = stack.Plan(load.nodes, domain, broker.bootstrap, gpus=GPUS)
        parts = opened.enter_context(stack.control_plane(folder, plan))
        producer = connect(BusConfig(bootstrap=(broker.bootstrap,))).producer()
        opened.callback(producer.close)
        field = Field(load, folder / "keys", parts.server, producer, args.budget_w, opened)
        _play(field, load.duration_s)
        producer.flush(JUDGED_WITHIN_S)
        judged = _judged(parts.metrics["detector"], field.tally.samples_sent)
    return {**_figures(field, load), **judged, **_ledger(folder)}


def _play(field: Field, duration_s: float) -> None:
    told = [0.0]

    def progress() -> None:
        told[0] += 10.0
        print(f"{told[0]:.0f} of {duration_s:.0f} s, {field.tally.samples_sent} samples", file=sys.stderr)

    field.time.every(10.0, progress, first_s=10.0)
    field.time.run(duration_s, Pace(1.0, threading.Event()))


def _judged(port: int, sent: int) -> dict[str, int]:
    """The detector's own counters, once they have caught up or JUDGED_WITHIN_S are over."""
    end_s = time.monotonic() + JUDGED_WITHIN_S
    names = {f"gpuwarden_detector_{name}_total": name for name in ("samples_judged", "samples_lost", "samples_repeated", "records_refused")}
    while True:
        seen = {names[name]: int(value) for name, value in _scraped(port) if name in names}
        if seen.get("samples_judged", 0) >= sent or time.monotonic() > end_s:
            return seen
        time.sleep(0.5)


def _scraped(port: int) -> Iterator[tuple[str, float]]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5.0) as page:
        for line in page.read().decode().splitlines():
            name, _, value = line.partition(" ")
            if not line.startswith("#"):
                yield name, float(value)


def _figures(field: Field, load: RecordedLoad) -> dict[str, Any]:
    tally = field.tally
    return {
        "nodes": len(load.nodes),
        "duration_s": round(load.duration_s, 1),
        "samples_sent": tally.samples_sent,
        "samples_acknowledged": field.acknowledged,
        "peak_before_w": round(tally.peak_before_w, 1),
        "peak_after_w": round(tally.peak_after_w, 1),
        "over_budget_s": round(tally.over_budget.total_s, 3),
        "over_budget_longest_s": round(tally.over_budget.longest_s, 3),
        "caps_set": sum(node.limits_set for node in field.nodes),
    }


def _ledger(folder: Path) -> dict[str, int]:
    ledger = Ledger(folder / "ledger.sqlite")
    try:
        return {"ledger_actions": ledger.line_count()}
    finally:
        ledger.close()


if __name__ == "__main__":
    sys.exit(main())
