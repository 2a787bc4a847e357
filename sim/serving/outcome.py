"""The figures of a simulated row: what oversubscribing it did to the breaker, and to whom it serves."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gpuwarden.sim.serving.faults import Planned
from gpuwarden.sim.serving.requests import Requests
from gpuwarden.sim.serving.row import RowSetup, Run, largest_rise
from gpuwarden.sim.serving.training import Training

Values = NDArray[np.float64]
Picked = NDArray[np.bool_]

QUANTILES: Final = (0.5, 0.99)
GRID_S: Final = 0.25
AFTER_S: Final = 30.0  # a fault's figures are of its time and of this much more


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


def trained(run: Run, uncapped: Run, judged: Judged) -> dict[str, float] | None:
    """Of a row with a job: the largest rise and fall of its nodes' summed power within 2 s, against the same row uncapped, and the work that was lost."""
    if run.training is None or uncapped.training is None:
        return None
    (rise_w, fall_w), (free_w, _) = _swing_w(run.training, judged), _swing_w(uncapped.training, judged)
    return {
        "rise_2s_w": round(rise_w), "rise_ratio": round(rise_w / free_w, 4), "fall_2s_w": round(fall_w),
        "lost_ratio": round(run.training.lost_ratio(judged.begin_s, judged.end_s), 5),
    }  # fmt: skip


def _swing_w(training: Training, judged: Judged) -> tuple[float, float]:
    sums_w = training.sums_w(np.arange(judged.begin_s, judged.end_s, GRID_S))
    return largest_rise(sums_w, round(2.0 / GRID_S)), largest_rise(-sums_w, round(2.0 / GRID_S))


def befallen(run: Run, setup: RowSetup, faults: Sequence[Planned]) -> list[dict[str, Any]]:
    """Each fault, whether it could strike, and the row's peak from then until it had healed for a while."""
    return [
        {"kind": one.kind, "minute": round(one.begin_s / 60.0, 3), "seconds": one.lasts_s, "struck": bool(one.struck), "peak_fraction": round(_peak(run, setup, one), 4)}
        for one in faults
    ]


def _peak(run: Run, setup: RowSetup, fault: Planned) -> float:
    every_s = setup.delays.telemetry_s
    first, last = round(fault.begin_s / every_s), round((fault.begin_s + fault.lasts_s + AFTER_S) / every_s)
    return float(run.load[first : last + 1].max())


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
