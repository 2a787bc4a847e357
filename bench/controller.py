"""How many agents one controller core carries: real gRPC sessions with sealed reports up and sealed grants down.

    python bench/controller.py [--rates 1 10] [--duration 20] [--json FILE]

The controller has one core to itself, and the other end another: there, every node is a session on a connection of its own with a
limiter's sealed reports, 1 or 10 a second, under a load that wanders, in rows of 64 nodes. The number of nodes grows until the
controller no longer carries them: carried is where no node waits longer than a second and half from one answer to the next, with a p99 from
report to directive of at most 300 ms. 1,000 nodes at one report a second are asked for. A report that is not urgent is answered by the next decision, 100 ms at most after it came.

What bounds it: the core that was busier, the controller's or the load's own, and the five functions in which the controller's Python
spent most of its time just after.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from process_cost import cpu_s
from profile_of import profile
from services import stack
from services.port import free_port, wait_until_open
from session_load import ANSWERED_WITHIN_S, Node, Tally

from gpuwarden.core.private import read_key

ROW = 64
SIZES = {1: (250, 500, 1000, 1500, 2000, 2500), 10: (100, 200, 300, 400, 500)}
P99_LIMIT_MS = 300.0
ASKED_AT_1_HZ = 1000
SETTLE_S = 12.0  # until leases are granted in steady state
PROFILE_S = 8


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rates", type=int, nargs="+", choices=sorted(SIZES), default=sorted(SIZES), help="reports a second and node")
    parser.add_argument("--duration", type=float, default=20.0)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    result: dict[str, dict[str, Any]] = {}
    for rate in args.rates:
        runs = list(_growing(rate, args.duration))
        carried = [run for run in runs if run["carried"]]
        result[f"at_{rate}_hz"] = {"sessions_carried": carried[-1]["sessions"] if carried else 0, "bound_by": _bound(runs[-1]), "runs": runs}
    print(json.dumps(result, indent=1))
    if args.json:
        args.json.write_text(json.dumps(result) + "\n")
    return 0 if 1 not in args.rates or result["at_1_hz"]["sessions_carried"] >= ASKED_AT_1_HZ else 1


def _bound(run: dict[str, Any]) -> str:
    """What gave way, or came nearest to it, in the last and largest run."""
    shares = {"the controller's core": run["controller_cpu_percent"], "the core of the load, which is Python as well": run["load_cpu_percent"]}
    busiest = max(shares, key=lambda core: shares[core])
    return f"{busiest}: {shares[busiest]:.0f} % busy at {run['sessions']} sessions" + ("" if run["carried"] else ", not carried")


def _growing(rate: int, duration_s: float) -> Sequence[dict[str, Any]]:
    runs: list[dict[str, Any]] = []
    for size in SIZES[rate]:
        runs.append(_measured(size, rate, duration_s))
        print(json.dumps(runs[-1]), file=sys.stderr)
        if not runs[-1]["carried"]:
            break
    return runs


def _measured(size: int, rate: int, duration_s: float) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as made, ExitStack() as opened:
        folder, names = Path(made), [f"n{number:05d}" for number in range(size)]
        port, metrics_port = free_port(), free_port()
        stack.write_keys(folder / "keys", names)
        (folder / "controller.toml").write_text(_config(folder, port, metrics_port, names))
        cores = sorted(os.sched_getaffinity(0))
        controller = opened.enter_context(_controller(folder, port, cores[0]))
        os.sched_setaffinity(0, set(cores[1:]) or set(cores))
        opened.callback(os.sched_setaffinity, 0, cores)
        keys = {name: read_key(folder / "keys" / f"{name}.key") for name in names}
        tally, top_five = asyncio.run(_load(f"127.0.0.1:{port}", keys, 1 / rate, duration_s, controller.pid, folder))
        controller.terminate()
        controller.wait()
    return {**_told(size, rate, duration_s, tally), "profile_top_five": top_five}


def _told(size: int, rate: int, duration_s: float, tally: Tally) -> dict[str, object]:
    p99_ms = 1e3 * statistics.quantiles(tally.latencies_s, n=100)[98] if len(tally.latencies_s) > 100 else float("inf")
    return {
        "sessions": size,
        "reports_a_second": round(tally.reports / duration_s),
        "answered_ratio": round(len(tally.latencies_s) / max(tally.reports, 1), 3),
        "longest_wait_s": round(tally.longest_wait_s, 2),
        "report_to_directive_p50_ms": round(1e3 * statistics.median(tally.latencies_s), 1) if tally.latencies_s else None,
        "report_to_directive_p99_ms": round(p99_ms, 1),
        "controller_cpu_percent": round(100 * tally.controller_cpu_s / duration_s, 1),
        "load_cpu_percent": round(100 * tally.load_cpu_s / duration_s, 1),
        "us_a_report": round(1e6 * tally.controller_cpu_s / max(tally.reports, 1)),
        "failures": dict(tally.failures.most_common(3)),
        "carried": p99_ms <= P99_LIMIT_MS and not tally.failures and tally.longest_wait_s <= ANSWERED_WITHIN_S,
    }


async def _load(server: str, keys: dict[str, bytes], period_s: float, duration_s: float, pid: int, folder: Path) -> tuple[Tally, list[str]]:
    """Counts begin once all are settled, and end before the controller is looked into."""
    tally = Tally()
    begin_s = time.monotonic() + SETTLE_S + len(keys) / 500
    end_s = begin_s + duration_s + PROFILE_S + 2.0
    nodes = [Node(name, key, period_s, tally) for name, key in keys.items()]
    running = [asyncio.create_task(node.run(server, end_s)) for node in nodes]
    await asyncio.sleep(begin_s - time.monotonic())
    tally.reports, tally.latencies_s, tally.longest_wait_s = 0, [], 0.0
    controller_s, load_s = cpu_s(pid), time.process_time()
    await asyncio.sleep(duration_s)
    for node in nodes:
        node.waits()
    counted = replace(tally, controller_cpu_s=cpu_s(pid) - controller_s, load_cpu_s=time.process_time() - load_s)
    tally.latencies_s = []  # what comes while the controller is looked into does not count
    top_five = await asyncio.to_thread(profile, [pid], folder, PROFILE_S)
    await asyncio.gather(*running)
    return counted, top_five


def _controller(folder: Path, port: int, core: int) -> subprocess.Popen[bytes]:
    """On one core from its first thread on."""
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "gpuwarden.cli", "controller", "--config", str(folder / "controller.toml")],
            stdout=log, stderr=log, preexec_fn=lambda: os.sched_setaffinity(0, {core}),  # noqa: PLW1509 - no thread runs here yet
        )
    wait_until_open(port, process, folder / "log", 60.0)
    return process


def _config(folder: Path, port: int, metrics_port: int, names: Sequence[str]) -> str:
    head = f'listen = "127.0.0.1:{port}"\nmetrics_listen = "127.0.0.1:{metrics_port}"\nledger_file = "{folder}/ledger.sqlite"\nkeys_dir = "{folder}/keys"\n'
    return head + "".join(_row(number, names[begin : begin + ROW]) for number, begin in enumerate(range(0, len(names), ROW)))


def _row(number: int, names: Sequence[str]) -> str:
    nodes = ", ".join(f'"{name}"' for name in names)
    return f"""
[[domains]]
name = "row-{number}"
rating_w = {6500.0 * len(names)}
mode = "auto"
dead_nodes = 1
[[domains.classes]]
name = "hgx"
gpus = 8
nodes = [{nodes}]
"""


if __name__ == "__main__":
    sys.exit(main())
