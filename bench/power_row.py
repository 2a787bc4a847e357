"""The calibrated serving row, and what oversubscribing it costs under the paper's policy, with the paper's delays and without our allocator.

    python bench/power_row.py --calibrate           finds the load at which the uncapped row peaks at 79 % of its budget; writes sim/serving/row.toml
    python bench/power_row.py [--days 14] [--sweep-days 2] [--json FILE]

The long cases have the paper's thresholds; latencies, peak and throughput are judged on the second half of their time, the sweeps on all of theirs.
Brakes, trips and seconds above the rating are of the whole run. Arrivals follow the Azure conversation
trace where the measured data is there.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from gpuwarden.controller.policies.ladder import LADDERS, Ladder, polca
from gpuwarden.sim.serving.frozen import FILE, Frozen, frozen, requests_of
from gpuwarden.sim.serving.outcome import Judged, outcome, swings
from gpuwarden.sim.serving.relation import Relation
from gpuwarden.sim.serving.requests import DAY_S
from gpuwarden.sim.serving.row import RowSetup, run
from gpuwarden.sim.serving.study import FILLING_S, HIGH

DATA = Path(os.environ.get("GPUWARDEN_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
TRACE = DATA / "requests" / "azure_llm_2023_conv.csv"
PEAK, PEAK_OFF = 0.79, 0.005
ADDED = 0.30


@dataclass(frozen=True, slots=True)
class Case:
    """One line of the table: a row and its ladder. All of its time is run, and `begin_s` on is judged."""

    name: str
    ladder: Ladder
    added: float = ADDED
    days: float = 2.0
    begin_s: float = FILLING_S
    more_power: float = 1.0
    high_ratio: float = 0.5
    relation: Relation = field(default_factory=Relation)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calibrate", action="store_true")
    parser.add_argument("--days", type=float, default=14.0)
    parser.add_argument("--sweep-days", type=float, default=2.0)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if args.calibrate:
        return _calibrate(args.days)
    began_s = time.monotonic()
    row, alone = frozen(), _alone(frozen(), args.days)
    print(f"the row alone, {args.days:g} days: {alone}", file=sys.stderr)
    cases = [*_judged(args.days), *_swept(args.sweep_days)]
    with ProcessPoolExecutor() as pool:
        made = {}
        for case, told in zip(cases, pool.map(_one, cases), strict=True):
            made[case.name] = told
            print(_line(case.name, told), flush=True)
    result = {"row": alone, "rate_hz": row.rate_hz, "seed": row.seed, "cases": made, "took_s": round(time.monotonic() - began_s)}
    if args.json:
        args.json.write_text(json.dumps(result) + "\n")
    return 0


def _judged(days: float) -> Iterator[Case]:
    half_s = days / 2 * DAY_S
    for name in ("polca", "one-threshold-low", "one-threshold-all", "none"):
        yield Case(f"{name}, {days:g} days", LADDERS[name], days=days, begin_s=half_s)
    yield Case(f"polca, 5 % more power, {days:g} days", LADDERS["polca"], days=days, begin_s=half_s, more_power=1.05)


def _swept(days: float) -> Iterator[Case]:
    for t1, t2 in ((0.75, 0.85), (0.80, 0.85), (0.80, 0.89), (0.85, 0.89), (0.80, 0.93), (0.85, 0.95)):
        yield Case(f"T1 {t1:.0%}, T2 {t2:.0%}", polca(t1, t2), days=days)
    for added in (0.0, 0.10, 0.20, 0.25, 0.30, 0.35, 0.40):
        for name in ("polca", "one-threshold-low", "one-threshold-all", "none"):
            yield Case(f"{name}, {added:.0%} added", LADDERS[name], added, days)
    for low in (0.25, 0.75):
        yield Case(f"polca, {low:.0%} low priority", LADDERS["polca"], days=days, high_ratio=1 - low)
    for saving, cost in ((0.5, 1.0), (1.5, 1.0), (1.0, 0.5), (1.0, 1.5)):
        yield Case(f"polca, locks save {saving:g} and cost {cost:g} of the table", LADDERS["polca"], days=days, relation=Relation(saving, cost))


def _one(case: Case) -> dict[str, Any]:
    row = frozen()
    setup = RowSetup(
        round(row.servers * (1 + case.added)), row.servers, case.ladder, high_ratio=case.high_ratio, more_power=case.more_power,
        relation=case.relation,
    )
    asked, duration_s = requests_of(row, setup.servers, case.days, 1, _trace()), case.days * DAY_S
    free = run(replace(setup, ladder=(), brake=False), asked, HIGH, duration_s)
    capped = run(setup, asked, HIGH, duration_s)
    return outcome(capped, free, setup, asked, HIGH, Judged(case.begin_s, duration_s))


def _line(name: str, told: dict[str, Any]) -> str:
    high, low = told["latency"]["high"], told["latency"]["low"]
    return (
        f"{name:48} brakes {told['brakes']:4} trips {told['trips']:3} over {told['over_rating_s']:7.0f} s peak {told['peak_fraction']:.3f}  "
        f"high p50 {high['p50_ratio']:.3f} p99 {high['p99_ratio']:.3f}  low p50 {low['p50_ratio']:.3f} p99 {low['p99_ratio']:.3f}  "
        f"answered {told['throughput_ratio']:.4f}"
    )


def _alone(row: Frozen, days: float, said: Callable[[float], None] = lambda now_s: None) -> dict[str, float]:
    setup = RowSetup(row.servers, row.servers, (), brake=False)
    asked = requests_of(row, row.servers, days, 1, _trace())
    return swings(run(setup, asked, HIGH, days * DAY_S, said), setup, Judged(FILLING_S, days * DAY_S))


def _trace() -> Path | None:
    return TRACE if TRACE.exists() else None


def _calibrate(days: float) -> int:
    """False position: the peak grows with the load, and not quite evenly."""
    row = frozen()
    tried: list[tuple[float, float]] = []
    rate_hz = row.rate_hz
    while not tried or abs(tried[-1][1] - PEAK) > PEAK_OFF:
        told = _alone(replace(row, rate_hz=rate_hz), days)
        tried.append((rate_hz, told["peak_fraction"]))
        print(f"{rate_hz:.3f} requests a second: {told}", flush=True)
        if len(tried) > 8:
            return 1
        slope = np.polyfit(*zip(*tried[-2:], strict=True), 1)[0] if len(tried) > 1 else 0.3 * tried[-1][1] / rate_hz
        rate_hz = round(rate_hz + (PEAK - tried[-1][1]) / float(slope), 3)
    lines = [f"rate_hz = {tried[-1][0]}" if line.startswith("rate_hz") else line for line in FILE.read_text().splitlines()]
    FILE.write_text("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
