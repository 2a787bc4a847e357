"""The mixed row: 20 nodes of a recorded GPT-3 training job, and inference servers until their row would be over its rating.

    python bench/power_mixed.py [--inference 32] [--minutes 11] [--begin-hour 13] [--ramp-kw 5.5] [--ramps-kw 10,8,4] [--seed N] [--json FILE]
                                 [--plot FILE]

The row's limit is thermal, and rated for 40 servers. Nobody, POLCA out of band as published (with its brake and without), and ours live, in band, on
the allocator. The first four minutes fill the row and are not judged, but for trips, brakes and seconds over the rating; then the log begins, whose largest
rises are its beginning and one after two minutes. Last `headroom` for each `ramp_w_per_s`: the training nodes' largest 2 s rise against the work that
they lose. `--minutes 61` is the whole log; `--seed`: other requests, keys and sensors.
"""

import argparse
import json
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

from power_row_cases import DATA, trace

from gpuwarden.controller.policies.ladder import LADDERS
from gpuwarden.sim import powerlog
from gpuwarden.sim.serving.frozen import frozen, requests_of
from gpuwarden.sim.serving.live import Held, LiveRow
from gpuwarden.sim.serving.outcome import Judged, outcome, trained
from gpuwarden.sim.serving.requests import DAY_S, Requests
from gpuwarden.sim.serving.row import RowSetup, Run, run
from gpuwarden.sim.serving.study import HIGH
from gpuwarden.sim.serving.training import job_of

LOG: Final = DATA / "power" / "gpt3_64node_h100_power.csv.gz"
TRAINING_NODES: Final = 20
FILLING_S: Final = 240.0
HEADS: Final = (
    f"{'UNDER':<28} {'PEAK':>7} {'OVER':>7} {'TRIPS':>5} {'BRAKES':>6} {'RISE IN 2 S':>11} {'OF FREE':>7} {'FALL':>8} {'LOST':>7} "
    f"{'HIGH P50':>9} {'P99':>8} {'LOW P50':>8} {'P99':>8} {'ANSWERED':>8} {'SETS':>7} {'TOOK':>6}"
)


def main() -> int:
    args = _parsed()
    if not LOG.exists():
        print(f"{LOG} is not there: GPUWARDEN_DATA says where the measured data is", file=sys.stderr)
        return 2
    setup, asked = _row(args)
    bench = Bench(setup, asked, 60.0 * args.minutes, args.seed)
    print(f"{setup.servers} inference servers and {TRAINING_NODES} training nodes, rated {setup.budget_w / 1e3:.1f} kW, {args.minutes:g} minutes from {args.begin_hour:g} h\n{HEADS}", flush=True)
    made = [bench.told("nobody", bench.free, None, 0.0)]
    made += [bench.published(brake) for brake in (True, False)]
    made += [bench.ours("polca", None), bench.ours("headroom", None), bench.ours("headroom", args.ramp_kw)]
    print("the ramp's price")
    curve = [bench.ours("headroom", float(ramp_kw)) for ramp_kw in args.ramps_kw.split(",") if ramp_kw]
    if args.json:
        result = {"inference": setup.servers, "training": TRAINING_NODES, "budget_w": setup.budget_w, "minutes": args.minutes, "seed": args.seed, "begin_hour": args.begin_hour}
        args.json.write_text(json.dumps({**result, "policies": made, "curve": curve}) + "\n")
    if args.plot:
        _plot(args.plot, made[0], [made[-1], *curve])
    return 0


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inference", type=int, default=32)
    parser.add_argument("--minutes", type=float, default=11.0)
    parser.add_argument("--begin-hour", type=float, default=13.0, help="of the envelope's day")
    parser.add_argument("--ramp-kw", type=float, default=5.5, help="kW a second, of the table's last line")
    parser.add_argument("--ramps-kw", default="10,8,4")
    parser.add_argument("--seed", type=int, default=frozen().seed)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    return parser.parse_args()


def _row(args: argparse.Namespace) -> tuple[RowSetup, Requests]:
    row, begin_days = frozen(), args.begin_hour / 24.0
    setup = RowSetup(args.inference, row.servers, LADDERS["polca"])
    log = powerlog.read(LOG)
    setup = replace(setup, training=job_of(log, TRAINING_NODES, setup.server, begin_s=log.duration_s - FILLING_S))
    asked = requests_of(row, args.inference, begin_days + 60.0 * args.minutes / DAY_S, args.seed, trace())
    return setup, asked.since(begin_days * DAY_S)


class Bench:
    """One row, the same requests and the same job for all."""

    def __init__(self, setup: RowSetup, asked: Requests, duration_s: float, seed: int) -> None:
        self._setup, self._asked, self._duration_s, self._seed = setup, asked, duration_s, seed
        self._judged = Judged(FILLING_S, duration_s)
        self.free = run(replace(setup, ladder=(), brake=False), asked, HIGH, duration_s)

    def published(self, brake: bool) -> dict[str, Any]:
        began_s = time.monotonic()
        made = run(replace(self._setup, brake=brake), self._asked, HIGH, self._duration_s)
        return self.told("polca, out of band" + ("" if brake else ", no brake"), made, None, time.monotonic() - began_s)

    def ours(self, policy: str, ramp_kw: float | None) -> dict[str, Any]:
        began_s = time.monotonic()
        row = LiveRow(self._setup, policy, self._asked, HIGH, self._seed, None if ramp_kw is None else 1e3 * ramp_kw)
        made, held = row.run(self._duration_s)
        name = policy if ramp_kw is None else f"{policy}, {ramp_kw:g} kW a second"
        return {"ramp_w_per_s": None if ramp_kw is None else 1e3 * ramp_kw, **self.told(name, made, held, time.monotonic() - began_s)}

    def told(self, under: str, made: Run, held: Held | None, took_s: float) -> dict[str, Any]:
        """Printed, too."""
        told, swing = outcome(made, self.free, self._setup, self._asked, HIGH, self._judged), trained(made, self.free, self._judged)
        assert swing is not None
        _print(under, told | swing, held, took_s)
        return {"under": under, **told, **swing, "held": asdict(held) if held else None, "took_s": round(took_s, 1)}


def _print(under: str, told: dict[str, Any], held: Held | None, took_s: float) -> None:
    stretches = [100 * (told["latency"][who][f"{q}_ratio"] - 1) for who in ("high", "low") for q in ("p50", "p99")]
    late = " ".join(f"{stretch:>+{width}.1f} %" for stretch, width in zip(stretches, (7, 6, 6, 6), strict=True))
    print(
        f"{under:<28} {100 * told['peak_fraction']:>5.1f} % {told['over_rating_s']:>5.0f} s {told['trips']:>5} {told['brakes']:>6} "
        f"{told['rise_2s_w'] / 1e3:>8.2f} kW {100 * told['rise_ratio']:>5.0f} % {told['fall_2s_w'] / 1e3:>5.1f} kW {100 * told['lost_ratio']:>5.2f} % {late} "
        f"{told['throughput_ratio']:>8.4f} {held.limits_set if held else '-':>7} {took_s:>4.0f} s", flush=True,
    )  # fmt: skip


def _plot(file: Path, free: dict[str, Any], held: list[dict[str, Any]]) -> None:
    from power_mixed_page import draw  # matplotlib, for this alone

    draw(file, free, sorted(held, key=lambda one: float(one["ramp_w_per_s"])))


if __name__ == "__main__":
    sys.exit(main())
