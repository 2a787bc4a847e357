"""All of gpuwarden at ten times the normal load for long: memory, file descriptors and threads of every process, at the start and at the end.

    python bench/soak.py [--duration 3600] [--json FILE]

Two nodes of eight simulated cards whose agents pass over them ten times a second instead of once, under demands that change every half
second, with Apache Kafka, detector, recorder and controller. Memory is what a process has written to: what it shares moves with others.
What the first sixth of the time brings counts as warming up. Flat is memory whose medians at the beginning and at the end of the rest
differ by at most 2 %. Descriptors and threads are constant when their medians there are the same: one that is open for a moment only may be seen or not.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from chaos.row import Row, running, start_data_path
from process_cost import descriptors, family, own_mib, threads
from services import kafka

NODES, PER_NODE_W, PERIOD_S = ("a", "b"), 7600.0, 0.1
WARM_SHARE, END_SHARE, FLAT_PERCENT = 1 / 6, 1 / 10, 2.0


@dataclass(frozen=True, slots=True)
class Look:
    """Sums over a service's processes. `main` is its first process: a restart shows."""

    main: int
    own_mib: float
    descriptors: int
    threads: int


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--duration", type=float, default=3600.0)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    looks = _soaked(args.duration)
    print(file=sys.stderr)  # ends the line that counted down
    result = {name: _told(seen) for name, seen in looks.items()}
    _print(result)
    if args.json:
        args.json.write_text(json.dumps({"duration_s": args.duration, "services": result, "looks": _series(looks)}, indent=1) + "\n")
    return 0 if all(one["flat"] for one in result.values()) else 1


def _soaked(duration_s: float) -> dict[str, list[Look]]:
    """A look at every service each minute, or sixty in all if that is more; without the warming up."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (folder / "kafka").mkdir()
        with (
            kafka.running(folder / "kafka") as broker,
            running(folder, NODES, PER_NODE_W, (broker.bootstrap,), period_s=PERIOD_S, logs_events=False) as row,
        ):
            start_data_path(row, (broker.bootstrap,))
            time.sleep(WARM_SHARE * duration_s)
            looks: dict[str, list[Look]] = {name: [] for name in row.services}
            every_s, end_s = min(60.0, duration_s / 60), time.monotonic() + (1 - WARM_SHARE) * duration_s
            while time.monotonic() < end_s:
                _look(row, looks)
                print(f"{end_s - time.monotonic():5.0f} s to go", end="\r", file=sys.stderr, flush=True)
                time.sleep(every_s)
    return looks


def _look(row: Row, looks: dict[str, list[Look]]) -> None:
    for name, service in row.services.items():
        assert service.pid is not None, f"{name} has died"
        pids = family(service.pid)
        looks[name].append(Look(service.pid, sum(map(own_mib, pids)), sum(map(descriptors, pids)), sum(map(threads, pids))))


def _told(looks: list[Look]) -> dict[str, object]:
    few = max(1, round(END_SHARE * len(looks)))
    begin, end = _medians(looks[:few]), _medians(looks[-few:])
    growth = 100 * (end.own_mib - begin.own_mib) / begin.own_mib
    restarts = len({look.main for look in looks}) - 1
    constant = (begin.descriptors, begin.threads) == (end.descriptors, end.threads)
    return {
        "begin_mib": round(begin.own_mib, 1), "end_mib": round(end.own_mib, 1), "growth_percent": round(growth, 2),
        "descriptors": [begin.descriptors, end.descriptors, max(look.descriptors for look in looks)],
        "threads": [begin.threads, end.threads, max(look.threads for look in looks)],
        "restarts": restarts,
        "flat": abs(growth) <= FLAT_PERCENT and constant and restarts == 0,
    }


def _series(looks: dict[str, list[Look]]) -> dict[str, list[float]]:
    """MiB at every look: whether it grows for ever, or to a size."""
    return {name: [round(look.own_mib, 2) for look in seen] for name, seen in looks.items()}


def _medians(looks: list[Look]) -> Look:
    memory = statistics.median(look.own_mib for look in looks)
    descriptors, threads = (statistics.median_low(values) for values in ([look.descriptors for look in looks], [look.threads for look in looks]))
    return Look(looks[0].main, memory, descriptors, threads)


def _print(result: dict[str, dict[str, object]]) -> None:
    print(f"{'SERVICE':<14}{'BEGIN':>10}{'END':>10}{'GROWTH':>9}  {'DESCRIPTORS':<18}THREADS (begin, end, most)")
    for name, one in result.items():
        files, running_threads = one["descriptors"], one["threads"]
        print(f"{name:<14}{one['begin_mib']:>6} MiB{one['end_mib']:>6} MiB{one['growth_percent']:>7} %  "
              f"{files!s:<18}{running_threads!s:<18}{'flat' if one['flat'] else 'not flat'}")


if __name__ == "__main__":
    sys.exit(main())
