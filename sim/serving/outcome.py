"""The figures of a simulated row: what oversubscribing it did to the breaker, and to whom it serves."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gpuwarden.sim.serving.requests import Requests
from gpuwarden.sim.serving.row import RowSetup, Run, largest_rise

Values = NDArray[np.float64]
Picked = NDArray[np.bool_]

QUANTILES: Final = (0.5, 0.99)


@dataclass(frozen=True, slots=True)
class Judged:
    """The part of a run that counts: from `begin_s` on, once the row has filled."""

    begin_s: float
    end_s: float


def swings(run: Run, setup: RowSetup, judged: Judged) -> dict[str, float]:
    """Of an uncapped row, as shares of its budget."""
    every_s = setup.delays.telemetry_s
    load = run.load[round(judged.begin_s / every_s) : round(judged.end_s / every_s)]
    return {
        "peak_fraction": round(float(load.max()), 4),
        "mean_fraction": round(float(load.mean()), 4),
        "rise_2s": round(largest_rise(load, round(2.0 / every_s)), 4),
        "rise_40s": round(largest_rise(load, round(40.0 / every_s)), 4),
    }


def outcome(run: Run, uncapped: Run, setup: RowSetup, asked: Requests, high_kinds: Picked, judged: Judged) -> dict[str, Any]:
    """Against the same requests on the same servers without any lock. What happened to the breaker, and how long locks held, is of the whole run."""
    high, told = high_kinds[asked.kind], swings(run, setup, judged)
    return {
        "brakes": run.brakes,
        "trips": run.trips,
        "over_rating_s": run.over_rating_s,
        "peak_w": round(told["peak_fraction"] * setup.budget_w),
        "peak_fraction": told["peak_fraction"],
        "throughput_ratio": round(_answered(run, judged) / _answered(uncapped, judged), 4),
        "latency": {name: _latency(run, uncapped, asked, judged, who) for name, who in (("high", high), ("low", ~high))},
        "locked_s": {f"rung {rung}": round(seconds) for rung, seconds in sorted(run.locked_s.items()) if rung},
    }


def _answered(run: Run, judged: Judged) -> int:
    return int(((run.finish_s >= judged.begin_s) & (run.finish_s < judged.end_s)).sum())


def _latency(run: Run, uncapped: Run, asked: Requests, judged: Judged, who: Picked) -> dict[str, float]:
    """Of requests that both runs have answered; s, and as ratios. What a run leaves unanswered shows in `throughput_ratio` alone."""
    both = who & ~np.isnan(run.finish_s) & ~np.isnan(uncapped.finish_s) & (asked.time_s >= judged.begin_s) & (asked.time_s < judged.end_s)
    told: dict[str, float] = {}
    for quantile in QUANTILES:
        capped_s, free_s = (float(np.quantile(one.finish_s[both] - asked.time_s[both], quantile)) for one in (run, uncapped))
        name = f"p{round(100 * quantile)}"
        told |= {f"{name}_s": round(capped_s, 2), f"{name}_ratio": round(capped_s / free_s, 4)}
    return told
