"""Refit every day on the five days before it, without labels: in drift, that is worth more than the model (bench/anomaly.py)."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from gpuwarden.detector.health.conditional import conditional
from gpuwarden.detector.health.past import past
from gpuwarden.detector.health.scale import Array, scale
from gpuwarden.detector.health.score import held, parts, raw

DAY_S: Final = 86400.0
WINDOW_DAYS: Final = 5


@dataclass(frozen=True, slots=True)
class Scored:
    """NaN in the first day, which only teaches. `score` (nodes, rows) in mean squared deviations, `carried` (nodes, rows, metrics)."""

    score: Array
    carried: Array


def scored(values: Array, step_s: float, floor: Array) -> Scored:
    """Of values (nodes, rows, metrics), a row each step_s, and `floor` from scale.floors. Each row is judged by earlier days alone."""
    carried = daily_carried(values, past(values, step_s), step_s, floor)
    score = held(raw(carried), step_s)
    score[:, : round(DAY_S / step_s)] = np.nan
    return Scored(score, carried)


def daily_carried(values: Array, before: Array, step_s: float, floor: Array) -> Array:
    """What each metric carries, (nodes, rows, metrics), of values and their `past`; NaN in the first day."""
    day = round(DAY_S / step_s)
    carried = np.full_like(values, np.nan)
    for start in range(day, values.shape[1], day):
        first, end = max(0, start - WINDOW_DAYS * day), start + day
        carried[:, start:end] = _day(values[:, first:end], before[:, first:end], start - first, floor)
    return carried


def _day(values: Array, before: Array, learned: int, floor: Array) -> Array:
    """What is carried in the rows after the first `learned`, which fit."""
    own = scale(values[:, :learned], floor)
    deviations, earlier = own.deviations(values), own.of_past(before)
    model = conditional(deviations[:, :learned], earlier[:, :learned])
    return parts(deviations[:, learned:], model.residuals(deviations[:, learned:], earlier[:, learned:]))
