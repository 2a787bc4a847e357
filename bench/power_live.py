"""The serving row under gpuwarden itself, in band: more servers under one budget, by policy, beside POLCA out of band as published.

    python bench/power_live.py [--days 0.25] [--begin-day 0.45] [--added 0.30,0.40,0.50] [--policies headroom,polca,fair-share] [--seed N] [--json FILE]

The calibrated row, the same requests for all; `--seed` gives other requests at the same load. `--begin-day`: where in the day of the envelope it begins; the afternoon is the busiest. Latencies
are against the same servers with nobody to hold them back. Ours is the real controller, limiters and agents (sim/serving/live.py). First what bounds
it: what the row draws uncapped, and with all clocks locked as low as any policy locks them. Last what each of ours costs beside POLCA.
"""

import argparse
import json
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

from power_row_cases import misses, trace

from gpuwarden.controller.policies import POLICIES
from gpuwarden.controller.policies.dim import LOWEST, LOWEST_LAST
from gpuwarden.controller.policies.ladder import LADDERS, Rung
from gpuwarden.sim.serving.frozen import Frozen, frozen, requests_of
from gpuwarden.sim.serving.live import LiveRow
from gpuwarden.sim.serving.outcome import Judged, outcome, swings
from gpuwarden.sim.serving.requests import DAY_S
from gpuwarden.sim.serving.row import RowSetup, run
from gpuwarden.sim.serving.study import FILLING_S, HIGH

ALL_LOCKED: Final = Rung(-1.0, -2.0, LOWEST, LOWEST_LAST)  # at any load


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--days", type=float, default=0.25)
    parser.add_argument("--begin-day", type=float, default=0.45)
    parser.add_argument("--added", default="0.30,0.40,0.50")
    parser.add_argument("--policies", default="headroom,polca,fair-share")
    parser.add_argument("--seed", type=int, default=frozen().seed)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    policies = args.policies.split(",")
    assert set(policies) <= set(POLICIES), f"--policies: should be among {', '.join(POLICIES)}"
    results = []
    late = f"{'HIGH P50':>9} {'P99':>8} {'LOW P50':>8} {'P99':>8}"
    print(f"{'SERVERS':>8} {'UNDER':<22} {'PEAK':>7} {'OVER':>7} {'TRIPS':>5} {late} {'ANSWERED':>8} {'CAPPED':>7} {'LOCKED':>7} {'TOOK':>7}  KEEPS")
    for added in map(float, args.added.split(",")):
        results += _with(frozen(), args.seed, added, args.days, args.begin_day, policies)
    if args.json:
        args.json.write_text(json.dumps(results) + "\n")
    return 0


def _with(row: Frozen, seed: int, added: float, days: float, begin_day: float, policies: list[str]) -> list[dict[str, Any]]:
    servers, duration_s, made = round(row.servers * (1 + added)), days * DAY_S, []
    asked = requests_of(row, servers, begin_day + days, seed, trace(), 0.5).since(begin_day * DAY_S)
    setup, judged = RowSetup(servers, row.servers, LADDERS["polca"]), Judged(min(FILLING_S, duration_s / 4), duration_s)
    free = run(replace(setup, ladder=(), brake=False), asked, HIGH, duration_s)
    locked = run(replace(setup, ladder=(ALL_LOCKED,), brake=False), asked, HIGH, duration_s)
    for what, one in (("uncapped", free), ("all clocks locked", locked)):
        drawn = swings(one, setup, judged)
        print(f"{servers:>8} {what:<22} {100 * drawn['peak_fraction']:>5.1f} % {one.over_rating_s:>5.0f} s, mean {100 * drawn['mean_fraction']:.1f} %", flush=True)
    began_s = time.monotonic()
    published = run(setup, asked, HIGH, duration_s)
    made.append(_told(servers, "polca, out of band", outcome(published, free, setup, asked, HIGH, judged), None, time.monotonic() - began_s))
    for policy in policies:
        began_s = time.monotonic()
        ours, held = LiveRow(setup, policy, asked, HIGH, seed).run(duration_s)
        made.append(_told(servers, policy, outcome(ours, free, setup, asked, HIGH, judged), asdict(held), time.monotonic() - began_s))
    _compare(made)
    return made


def _compare(made: list[dict[str, Any]]) -> None:
    """Each of ours beside POLCA out of band as published, and in band where that was run: points of latency, and of requests not answered."""
    beside = [one for one in made if one["under"] in ("polca, out of band", "polca")]
    for one in made:
        for other in beside if one["held"] and one not in beside else ():
            points = [
                f"{who} {q} {100 * (one['latency'][who][f'{q}_ratio'] - other['latency'][who][f'{q}_ratio']):+.1f}" for who in ("high", "low") for q in ("p50", "p99")
            ]
            lost = 100 * (other["throughput_ratio"] - one["throughput_ratio"])
            print(f"{one['servers']:>8} {one['under']} against {other['under']}: {', '.join(points)} points; {lost:+.2f} % of the requests lost", flush=True)


def _told(servers: int, under: str, told: dict[str, Any], held: dict[str, Any] | None, took_s: float) -> dict[str, Any]:
    high, low = told["latency"]["high"], told["latency"]["low"]
    stretches = " ".join(f"{100 * (one[q] - 1):>+{width}.1f} %" for one, q, width in ((high, "p50_ratio", 7), (high, "p99_ratio", 6), (low, "p50_ratio", 6), (low, "p99_ratio", 6)))
    shares = f"{100 * held['capped_ratio']:>5.1f} % {100 * held['locked_ratio']:>5.1f} %" if held else f"{'-':>7} {told['brakes']:>3} br"
    print(f"{servers:>8} {under:<22} {100 * told['peak_fraction']:>5.1f} % {told['over_rating_s']:>5.0f} s {told['trips']:>5} {stretches} {told['throughput_ratio']:>8.4f} {shares} {took_s:>5.0f} s  {', '.join(f'not {one}' for one in misses(told)) or 'all bounds'}", flush=True)
    return {"servers": servers, "under": under, **told, "held": held, "misses": misses(told), "took_s": round(took_s, 1)}


if __name__ == "__main__":
    sys.exit(main())
