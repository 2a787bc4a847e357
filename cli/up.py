"""`gpuwarden up`: all of gpuwarden in one process, on a simulated row or a recorded power log."""

import argparse
import json
import logging
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpuwarden.core.config import ConfigError

if TYPE_CHECKING:
    from gpuwarden.controller.power.domain import DomainConfig
    from gpuwarden.proto.control_pb2 import WatchResponse
    from gpuwarden.sim.cluster import Row
    from gpuwarden.sim.loads import Load

    Publish = Callable[[WatchResponse], None]

GPUS, SLOPE = 8, 1.10
SIMULATED_BUDGET_W = 54_000.0
PORT = 7480
TABLE_S = 0.25
PROGRESS_S = 5.0
LOG_START_NS = 1_717_200_000_000_000_000  # a recorded log has no date: 2024-06-01, so that the same seed gives the same bytes


def add(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    up = verbs.add_parser("up", help="everything in one process: real GPUs if there are any, else a simulated row")
    up.add_argument("--power-log", type=Path, metavar="FILE", help="drive the row from a log: CSV or CSV.gz with node, time_s, power_w")
    up.add_argument("--host-w", type=float, default=2300.0, help="of a log's node power, the part that cannot be capped (%(default)s)")
    up.add_argument("--budget-w", type=_positive, help=f"what the row may draw; simulated row: {SIMULATED_BUDGET_W:,.0f}, log: its peak")
    up.add_argument("--mode", choices=("observe", "notify", "auto"), help="default: observe on real GPUs, auto on simulated ones")
    up.add_argument("--seed", type=int, default=1)
    up.add_argument("--speed", type=_positive, help="virtual seconds a second; default 1, headless as fast as it goes")
    up.add_argument("--duration", type=_positive, metavar="S", help="stop after so many seconds of the row's time")
    up.add_argument("--headless", action="store_true", help="no table, no page")
    up.add_argument("--json", action="store_true", help="the figures at the end as JSON")
    up.add_argument("--port", type=int, default=PORT, help="of the page, on loopback (%(default)s); 0: any")
    up.add_argument("--state", type=Path, metavar="DIR", help="keep the ledger here; default: a folder that goes away")
    up.add_argument("--record", type=Path, metavar="DIR", help="write the telemetry as Parquet, as `gpuwarden record` does")
    up.add_argument("--events", type=Path, metavar="DIR", help="write what every daemon's machine was told, for `gpuwarden replay`")
    up.set_defaults(run=run, verb="up")


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"is {text}, should be above 0")
    return value


def run(args: argparse.Namespace) -> int:
    from gpuwarden.controller.ledger import Ledger, LedgerError
    from gpuwarden.sim.powerlog import BadPowerLog
    from gpuwarden.sim.watch import Watch

    gpus, why = (0, "") if args.power_log else _real_gpus()
    if gpus:
        return _run_real(args, gpus)
    args.mode = args.mode or "auto"
    if not args.power_log:
        print(f"No GPU to watch ({why}): a simulated row of eight nodes, in {args.mode}.", file=sys.stderr)
    with ExitStack() as opened:
        state = _state(args, opened)
        try:
            row = _row(args)
            ledger = Ledger(state / "ledger.sqlite")
        except (BadPowerLog, LedgerError) as why:
            raise ConfigError(str(why)) from None
        opened.callback(ledger.close)
        watch = Watch(args.events)
        opened.callback(watch.close)
        made = _run(args, row, ledger, watch, opened)
    _tell(made, args.json)
    return 0


def _state(args: argparse.Namespace, opened: ExitStack) -> Path:
    state = args.state or Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="gpuwarden-")))
    state.mkdir(parents=True, exist_ok=True)
    return state


def _real_gpus() -> tuple[int, str]:
    """How many cards NVML knows, or none and why."""
    from gpuwarden.agent.child import ChildFailed, Hung
    from gpuwarden.agent.collectors import nvml
    from gpuwarden.agent.config import AgentConfig
    from gpuwarden.agent.reading import Unsupported
    from gpuwarden.proto.catalogue import Device

    try:
        collector = nvml.open(AgentConfig())
        try:
            return sum(device.device is Device.GPU for device in collector.collect().devices), "it has none"
        finally:
            collector.close()
    except (Unsupported, Hung, ChildFailed) as why:
        return 0, str(why)


def _run_real(args: argparse.Namespace, gpus: int) -> int:
    from gpuwarden.cli import up_real, up_told

    with ExitStack() as opened:
        state = _state(args, opened)
        if not args.headless:  # a line on the terminal would tear the table
            _log_to(state / "up.log", opened)
        publish = (lambda snapshot: None) if args.headless else _show(args, opened)
        made = up_real.run(args, gpus, state, publish)
    print(json.dumps(made, indent=1) if args.json else "\n".join(up_told.sentences(made)))
    return 1 if made["failures"] else 0


def _log_to(path: Path, opened: ExitStack) -> None:
    ours, handler = logging.getLogger("gpuwarden"), logging.FileHandler(path)
    ours.addHandler(handler)
    opened.callback(handler.close)
    opened.callback(ours.removeHandler, handler)


def _row(args: argparse.Namespace) -> "Row":
    from gpuwarden.controller.power.keeper import Timing
    from gpuwarden.sim.cluster import Row
    from gpuwarden.sim.loads import MISHAPS

    load, budget_w = _load(args)
    timing = Timing(lease_s=5.0, stale_s=3.0, learn_s=2.5)
    unix_ns = LOG_START_NS if args.headless or args.power_log else time.time_ns()
    mishaps = MISHAPS if args.power_log is None else ()
    return Row(load, _domain(load, budget_w, args), timing, args.seed, unix_ns, mishaps)


def _load(args: argparse.Namespace) -> "tuple[Load, float]":
    import numpy as np

    from gpuwarden.sim.loads import ChangingLoad
    from gpuwarden.sim.powerlog import RecordedLoad, read

    if args.power_log is None:
        return ChangingLoad(np.random.default_rng(args.seed + 1)), args.budget_w or SIMULATED_BUDGET_W
    log = read(args.power_log)
    if args.duration is not None:
        log = log.until(args.duration)
    load = RecordedLoad(log, GPUS, args.host_w, SLOPE)
    return load, args.budget_w or log.peak_w()


def _domain(load: "Load", budget_w: float, args: argparse.Namespace) -> "DomainConfig":
    from gpuwarden.controller.power.domain import DomainConfig
    from gpuwarden.core.config import parse

    classes = [{"name": "h100", "nodes": list(load.nodes), "gpus": load.gpus, "base_w": args.host_w, "slope": SLOPE}]
    document = {"name": "row-a", "rating_w": budget_w, "mode": args.mode, "classes": classes}
    return parse(document, DomainConfig, "--budget-w, --host-w")


def _run(args: argparse.Namespace, row: "Row", ledger: Any, watch: Any, opened: ExitStack) -> dict[str, Any]:
    from gpuwarden.core.service import stop_on_signals
    from gpuwarden.sim.cluster import Cluster, Outside
    from gpuwarden.sim.pace import Pace, Stopped
    from gpuwarden.sim.powerlog import RecordedLoad
    from gpuwarden.sim.summary import figures

    stop = stop_on_signals()
    publish = _progress(args, row) if args.headless else _show(args, opened)
    outside = Outside(ledger, watch, publish, lambda who, say: None, _recorder(args.record, opened))
    cluster = Cluster(row, outside)
    speed = args.speed or (None if args.headless else 1.0)
    with suppress(Stopped):
        cluster.time.run(_end_s(args, row), Pace(speed, stop))
    cluster.settle()
    asked = {"mode": args.mode, "budget_w": row.domain.rating_w, "host_w": args.host_w, "seed": args.seed}
    if isinstance(row.load, RecordedLoad):
        asked["log_holes"] = row.load.holes
    return figures(row, cluster, ledger, asked)


def _recorder(folder: Path | None, opened: ExitStack) -> "Callable[[str, bytes], None]":
    """Takes every record that is sent, if anybody wants the history."""
    if folder is None:
        return lambda node, payload: None
    from gpuwarden.detector.history import Recorder
    from gpuwarden.detector.history_parquet import Parquet

    recorder, offsets = Recorder(Parquet(folder)), count()
    opened.callback(recorder.flush)
    return lambda node, payload: recorder.take(0, next(offsets), payload)


def _end_s(args: argparse.Namespace, row: "Row") -> float:
    from gpuwarden.sim.powerlog import RecordedLoad

    if isinstance(row.load, RecordedLoad):
        return row.load.duration_s
    return args.duration or float("inf")


def _show(args: argparse.Namespace, opened: ExitStack) -> "Publish":
    """Table and page."""
    from gpuwarden.controller.snapshot import Board
    from gpuwarden.controller.web.serve import Page
    from gpuwarden.core.address import Address

    board, show = Board(), _table(args, opened)
    try:
        page = Page(Address("127.0.0.1", args.port), board)
        page.start()
    except OSError as why:
        raise ConfigError(f"--port: {args.port} cannot be had: {why.strerror or why}; --port 0 takes any") from None
    opened.callback(page.close)
    print(f"The page is at {page.url}", file=sys.stderr)

    def publish(snapshot: "WatchResponse") -> None:
        board.publish(snapshot)
        show(snapshot)

    return publish


def _table(args: argparse.Namespace, opened: ExitStack) -> "Publish":
    """The terminal table, at most four pictures a second; nothing if headless."""
    if args.headless:
        return lambda snapshot: None
    from gpuwarden.cli.table import Table

    table, shown_s = Table(), [0.0]
    opened.callback(table.close)

    def show(snapshot: "WatchResponse") -> None:
        if time.monotonic() - shown_s[0] >= TABLE_S:
            shown_s[0] = time.monotonic()
            table.show(snapshot)

    return show


def _progress(args: argparse.Namespace, row: "Row") -> "Publish":
    """A line now and then on standard error."""
    end_s, told_s = _end_s(args, row), [time.monotonic()]

    def publish(snapshot: "WatchResponse") -> None:
        if time.monotonic() - told_s[0] >= PROGRESS_S:
            told_s[0] = time.monotonic()
            (domain,) = snapshot.cluster.domains
            done_s = (snapshot.cluster.unix_ns - row.unix_ns) / 1e9
            print(f"{done_s:,.0f} of {end_s:,.0f} s, {domain.power_w / 1e3:,.1f} kW, {domain.sentence}", file=sys.stderr)

    return publish


def _tell(made: dict[str, Any], as_json: bool) -> None:
    from gpuwarden.sim.summary import sentences

    print(json.dumps(made, indent=1) if as_json else "\n".join(sentences(made)))
