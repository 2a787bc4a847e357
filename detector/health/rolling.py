"""Refit every day on the five days before it, without labels: in drift, that is worth more than the model (bench/anomaly.py)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from gpuwarden.detector.health.conditional import Conditional, conditional
from gpuwarden.detector.health.past import past
from gpuwarden.detector.health.scale import Array, Scale, scale
from gpuwarden.detector.health.score import held, parts, raw

DAY_S: Final = 86400.0
WINDOW_DAYS: Final = 5


@dataclass(frozen=True, slots=True)
class Scored:
    """NaN in the first day, which only teaches. `score` (nodes, rows) in mean squared deviations, `carried` (nodes, rows, metrics)."""

    score: Array
    carried: Array


@dataclass(frozen=True, slots=True)
class Taught:
    """On a window of some nodes."""

    own: Scale
    model: Conditional

    def carried(self, values: Array, before: Array) -> Array:
        """What each metric carries, (nodes, rows, metrics), of values and their `past`."""
        deviations = self.own.deviations(values)
        return parts(deviations, self.model.residuals(deviations, self.own.of_past(before)))


def scored(values: Array, step_s: float, floor: Array) -> Scored:
    """Of values (nodes, rows, metrics), a row each step_s, and `floor` from scale.floors. Each row is judged by earlier days alone."""
    carried = daily_carried(values, past(values, step_s), step_s, floor)
    score = held(raw(carried), step_s)
    score[:, : round(DAY_S / step_s)] = np.nan
    return Scored(score, carried)


def daily_carried(values: Array, before: Array, step_s: float, floor: Array) -> Array:
    """What each metric carries, (nodes, rows, metrics), of values and their `past`; NaN in the first day."""
    carried = np.full_like(values, np.nan)
    for learned, day in days(values.shape[1], step_s):
        carried[:, day] = taught(values[:, learned], before[:, learned], floor).carried(values[:, day], before[:, day])
    return carried


def days(rows: int, step_s: float) -> Iterator[tuple[slice, slice]]:
    """The rows that teach, and the day that is judged by them."""
    day = round(DAY_S / step_s)
    for start in range(day, rows, day):
        yield slice(max(0, start - WINDOW_DAYS * day), start), slice(start, start + day)


def taught(values: Array, before: Array, floor: Array) -> Taught:
    """To a window, (nodes, rows, metrics), and its past."""
    own = scale(values, floor)
    return Taught(own, conditional(own.deviations(values), own.of_past(before)))
