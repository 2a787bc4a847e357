"""The calibrated serving row, and what oversubscribing it costs under the paper's policy, with the paper's delays and without our allocator.

    python bench/power_row.py --calibrate           finds the load at which the uncapped row swings as POLCA's does; writes sim/serving/row.toml
    python bench/power_row.py [--days 14] [--sweep-days 2] [--json FILE] [--plot FILE]

Thresholds are chosen on the first half of the time: of those that keep every bound there, and leave room for 5 % more power, those that cost the
low priority least. The long cases are judged on the second half, the sweeps on all of their own time. Brakes, trips and seconds above the rating are of the whole run. Arrivals follow
the Azure conversation trace where the measured data is there. Some twenty minutes on one core.
"""

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from power_row_cases import MORE_POWER, TRACE, Case, first_week, judged, one, swept, trace
from power_row_page import draw

from gpuwarden.sim.serving.frozen import FILE, Frozen, frozen, requests_of
from gpuwarden.sim.serving.outcome import Judged, swings
from gpuwarden.sim.serving.requests import DAY_S
from gpuwarden.sim.serving.row import RowSetup, run
from gpuwarden.sim.serving.study import FILLING_S, HIGH

PAPERS = (0.80, 0.89)
ASKED = {"peak_fraction": (0.79, 0.01), "rise_40s": (0.118, 0.01), "rise_2s": (0.09, 0.01)}  # POLCA's row, and how far off ours may be
RATES_HZ = [round(2.0 + 0.2 * step, 1) for step in range(13)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calibrate", action="store_true")
    parser.add_argument("--days", type=float, default=14.0)
    parser.add_argument("--sweep-days", type=float, default=2.0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    args = parser.parse_args()
    return _calibrate(args.days) if args.calibrate else _all(args.days, args.sweep_days, args.json, args.plot)


def _all(days: float, sweep_days: float, json_file: Path | None, plot: Path | None) -> int:
    began_s, row = time.monotonic(), frozen()
    result: dict[str, Any] = {"row": _alone(row, days), "rate_hz": row.rate_hz, "seed": row.seed, "trace": TRACE.name if trace() else None}
    print(f"the row alone, {days:g} days: {result['row']}", flush=True)
    tried = {thresholds: _printed(case) for thresholds, case in first_week(days / 2)}
    chosen = _chosen(tried)
    print(f"thresholds: {chosen[0]:.0%}, {chosen[1]:.0%}", flush=True)
    result |= {"thresholds": chosen, "first": {f"T1 {t1:.0%}, T2 {t2:.0%}": told for (t1, t2), told in tried.items()}}
    result["judged"] = {case.name: _printed(case) for case in judged(days, chosen)}
    sweeps = [(which, at, case.name, _printed(case)) for which, at, case in swept(sweep_days, chosen)]
    result["swept"] = {name: told for _, _, name, told in sweeps}
    result["took_s"] = round(time.monotonic() - began_s)
    if json_file:
        json_file.write_text(json.dumps(result) + "\n")
    if plot:
        draw(plot, result, sweeps)
    return 0


def _chosen(tried: dict[tuple[float, float], dict[str, Any]]) -> tuple[float, float]:
    """The paper's, where none keeps every bound; the lowest peak, where none that does leaves room."""
    kept = {thresholds: told for thresholds, told in tried.items() if not told["misses"]}
    roomy = [thresholds for thresholds, told in kept.items() if MORE_POWER * told["peak_fraction"] <= 1.0]
    if roomy:
        return min(roomy, key=lambda one: float(kept[one]["latency"]["low"]["p50_ratio"]))
    return min(kept, key=lambda one: float(kept[one]["peak_fraction"]), default=PAPERS)


def _printed(case: Case) -> dict[str, Any]:
    told = one(case)
    high, low = told["latency"]["high"], told["latency"]["low"]
    print(
        f"{case.name:44} brakes {told['brakes']:4} trips {told['trips']:3} over {told['over_rating_s']:7.0f} s peak {told['peak_fraction']:.3f}  "
        f"high p50 {high['p50_ratio']:.3f} p99 {high['p99_ratio']:.3f}  low p50 {low['p50_ratio']:.3f} p99 {low['p99_ratio']:.3f}  "
        f"answered {told['throughput_ratio']:.4f}  {'misses ' + ', '.join(told['misses']) if told['misses'] else 'keeps all'}",
        flush=True,
    )
    return told


def _alone(row: Frozen, days: float) -> dict[str, float]:
    setup = RowSetup(row.servers, row.servers, (), brake=False)
    asked = requests_of(row, row.servers, days, 1, trace())
    return swings(run(setup, asked, HIGH, days * DAY_S), setup, Judged(FILLING_S, days * DAY_S))


def _calibrate(days: float) -> int:
    """The largest rise of two weeks is one event, and jumps with the load: every load is tried, and the one in the middle of all three bands taken."""
    row, tried = frozen(), {}
    for rate_hz in RATES_HZ:
        told = _alone(replace(row, rate_hz=rate_hz), days)
        tried[rate_hz] = max(abs(told[name] - middle) / off for name, (middle, off) in ASKED.items())
        print(f"{rate_hz:g} requests a second: {told}, {tried[rate_hz]:.2f} of what it may be off", flush=True)
    best = min(tried, key=tried.__getitem__)
    if tried[best] > 1.0:
        print("no load meets all three", file=sys.stderr)
        return 1
    lines = [f"rate_hz = {best}" if line.startswith("rate_hz") else line for line in FILE.read_text().splitlines()]
    FILE.write_text("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
