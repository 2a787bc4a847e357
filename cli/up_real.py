"""`gpuwarden up` on this machine's own GPUs: the four daemons as threads of one process, on a bus of its own."""

import argparse
import re
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from gpuwarden.agent.child import ChildFailed, Hung
from gpuwarden.agent.config import AgentConfig
from gpuwarden.agent.limiter.cards import Cards
from gpuwarden.agent.limiter.config import LimiterConfig
from gpuwarden.agent.limiter.main import limit
from gpuwarden.agent.limiter.state import Remembered
from gpuwarden.agent.main import collect_and_relay
from gpuwarden.agent.reading import Unsupported
from gpuwarden.core.bus_memory import MemoryBus
from gpuwarden.core.config import parse
from gpuwarden.proto.lease_pb2 import Mode
from gpuwarden.proto.topics import TELEMETRY

if TYPE_CHECKING:
    from gpuwarden.controller.config import ControllerConfig
    from gpuwarden.controller.main import ControllerShell
    from gpuwarden.detector.machine import Detector
    from gpuwarden.proto.control_pb2 import WatchResponse

LOOK_S = 0.25
LAST_S = 3.0  # for the last records to be judged
FLOOR_W, DEFAULT_W = 200.0, 700.0  # where no card tells its range


def run(args: argparse.Namespace, gpus: int, state: Path, show: "Callable[[WatchResponse], None]", opened: ExitStack) -> dict[str, Any]:
    """Until the duration is over or somebody asks for the end. `gpus` is how many cards there are."""
    from gpuwarden.controller.config import read_keys
    from gpuwarden.controller.main import ControllerShell
    from gpuwarden.core.service import stop_on_signals

    stop, bus = stop_on_signals(), MemoryBus()
    cards = _cards()
    config = _controller(args, gpus, cards, state)
    (node,) = config.nodes()
    keys = read_keys(config)
    shell = opened.enter_context(ControllerShell(config, keys, lambda stop: bus, args.events))
    detector = opened.enter_context(_Judge(bus, args.events)).detector
    if cards is not None:
        limiter = LimiterConfig(
            key_file=state / "unused", floor_w=config.domains[0].classes[0].floor_w, node=node, socket=_socket(state),
            state_file=state / "limiter.json",
        )
        remembered = Remembered(0, Mode.MODE_OBSERVE)
        opened.enter_context(_Part(lambda stop: limit(limiter, keys[node], remembered, cards, stop, args.events)))
    agent = AgentConfig(node=node, controller=shell.address, limiter_socket=_socket(state) if cards is not None else None)
    peak_w, start_s = [0.0], time.monotonic()
    with _Part(lambda stop: collect_and_relay(agent, lambda stop: bus, stop, args.events)):
        _watch(args, shell, stop, show, peak_w)
    duration_s = time.monotonic() - start_s
    _let_judge(bus, detector)
    return {**_figures(bus, detector, shell, config, gpus), "duration_s": round(duration_s, 1), "peak_w": round(peak_w[0], 1)}


class _Part:
    """A daemon in a thread of its own; it is told to stop, and waited for."""

    def __init__(self, body: Callable[[threading.Event], None]) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=body, args=(self._stop,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *why: object) -> None:
        self._stop.set()
        self._thread.join(5.0)


class _Judge(_Part):
    """The detector, whose counts are wanted afterwards."""

    def __init__(self, bus: MemoryBus, events: Path | None) -> None:
        from gpuwarden.core.bus import BusConfig
        from gpuwarden.detector.config import DetectorConfig
        from gpuwarden.detector.machine import Detector
        from gpuwarden.detector.main import detect

        config = DetectorConfig(bus=BusConfig(kind="memory"))
        self.detector = Detector(config.setup)
        super().__init__(lambda stop: detect(bus, config, config.setup, self.detector, stop, events))

    def __enter__(self) -> Self:
        super().__enter__()
        return self


def _cards() -> Cards | None:
    """None where limits cannot even be read: then nothing is vouched for, and nothing could be capped."""
    try:
        return Cards()
    except (Unsupported, Hung, ChildFailed) as why:
        print(f"Power limits cannot be read: {why}", file=sys.stderr)
        return None


def _socket(state: Path) -> Path:
    return state / "limiter.sock"


def _controller(args: argparse.Namespace, gpus: int, cards: Cards | None, state: Path) -> "ControllerConfig":
    from gpuwarden.controller.config import ControllerConfig

    name = re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname()).strip(".-") or "this-node"
    key = state / "keys" / f"{name}.key"
    key.parent.mkdir(mode=0o700, exist_ok=True)
    key.touch(mode=0o600)
    key.write_text(secrets.token_hex(32), encoding="ascii")
    floor_w = max((card.min_w for card in cards.cards), default=FLOOR_W) if cards else FLOOR_W
    default_w = max((card.default_w for card in cards.cards), default=DEFAULT_W) if cards else DEFAULT_W
    made = {"name": "this-node", "nodes": [name], "gpus": gpus, "base_w": args.host_w, "floor_w": floor_w, "default_w": default_w}
    worst_w = args.host_w + 1.10 * 1.05 * gpus * default_w
    domain = {
        "name": "this-node", "rating_w": args.budget_w or worst_w, "mode": args.mode or "observe", "classes": [made], "dead_nodes": 0,
    }
    document = {
        "ledger_file": str(state / "ledger.sqlite"), "keys_dir": str(state / "keys"), "listen": "127.0.0.1:0", "domains": [domain],
        **({} if args.headless else {"web_listen": f"127.0.0.1:{args.port}"}),
    }
    return parse(document, ControllerConfig, "--budget-w, --host-w, --port")


def _watch(
    args: argparse.Namespace, shell: "ControllerShell", stop: threading.Event, show: "Callable[[WatchResponse], None]", peak_w: list[float]
) -> None:
    if shell.page_url is not None:
        print(f"The page is at {shell.page_url}", file=sys.stderr)
    end_s = time.monotonic() + (args.duration or float("inf"))
    while time.monotonic() < end_s and not stop.wait(LOOK_S) and not shell.failed:
        if (snapshot := shell.board.newest()) is not None:
            live = sum(node.gpu_power_w for node in snapshot.nodes if node.gpu_power_w > 0)
            peak_w[0] = max(peak_w[0], live)
            show(snapshot)


def _sent(bus: MemoryBus) -> int:
    with bus.changed:
        return sum(partition.end for partition in bus.partitions(TELEMETRY))


def _let_judge(bus: MemoryBus, detector: "Detector") -> None:
    end_s = time.monotonic() + LAST_S
    while time.monotonic() < end_s and detector.samples_judged + detector.samples_repeated < _sent(bus):
        time.sleep(0.05)


def _figures(
    bus: MemoryBus, detector: "Detector", shell: "ControllerShell", config: "ControllerConfig", gpus: int
) -> dict[str, Any]:
    snapshot = shell.board.newest()
    findings = sorted({finding.kind for finding in snapshot.findings}) if snapshot is not None else []
    return {
        "mode": config.domains[0].mode, "budget_w": config.domains[0].rating_w, "nodes": 1, "gpus": gpus,
        "samples_sent": _sent(bus), "samples_judged": detector.samples_judged, "samples_lost": detector.samples_lost,
        "samples_repeated": detector.samples_repeated, "samples_refused": detector.refused, "findings": findings,
    }


def sentences(made: dict[str, Any]) -> Iterator[str]:
    """What a person wants to know when it is over."""
    yield f"{made['gpus']} GPUs for {made['duration_s']:,.0f} s, mode {made['mode']}, {made['peak_w']:,.0f} W at most."
    yield (
        f"Telemetry: {made['samples_sent']:,} samples sent, {made['samples_judged']:,} judged, {made['samples_lost']} lost, "
        f"{made['samples_repeated']} judged twice, {made['samples_refused']} refused."
    )
    yield f"Findings: {', '.join(made['findings']) or 'none'}."
