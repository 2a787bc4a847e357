"""Faults of one metric, injected into real rows that are taken as healthy: how strong must they be until the node by itself is found?

    python bench/health_injected.py --data DIR [--seeds N] [--json FILE]

DIR as for anomaly.py; of each entity of SMD and ASD only `train`, which its authors take as healthy. The last two fifths of it are held out: on each of their days one
fault of two hours is put into one metric at a time of chance, for each kind and strength apart, so no model ever learns from one. Fits are of the five days before,
thresholds each entity's own, of the seven days before, for 0.1 findings a node-day. Found is what is above the threshold in the fault's rows or the ten minutes after, where the
same rows without it are not. F is of findings: false ones are those of the same days without any fault. A strength is in the metric's deviations (level, and drift at its end); a
frozen metric moves by 1 / (1 + strength) of what it did, variance makes it swing (1 + strength) times as far, and correlation puts strength / (1 + strength) of another time's
swings in place of its own.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from anomaly_rows import mean_square, ten_minutes
from anomaly_sets import Array, Entity, LabelledSet, read

from gpuwarden.detector.health.budget import JOIN_S, daily, findings
from gpuwarden.detector.health.past import past
from gpuwarden.detector.health.rolling import days, taught
from gpuwarden.detector.health.scale import floors, scale
from gpuwarden.detector.health.score import held, raw

SETS: Final = ("smd", "asd")
STRENGTHS: Final = (0.1, 0.3, 1.0, 3.0, 10.0)
LASTS_MIN: Final = 120
RUN_UP_MIN: Final = 300  # ten half-lives of what is remembered from row to row
HELD_OUT: Final = 0.4
BUDGET: Final = 0.1

Fault = Callable[[Array, float, float, Array], Array]  # the metric's rows, its deviation, the strength, and its rows of another time
Squares = Callable[[Array, Array], Array]  # of values (any, rows, metrics) and their past: (any, rows)
Fit = Callable[[Array, Array, Array], Squares]  # to a window of one node, its past, and the floor of deviations
Smooth = Callable[[Array, int], Array]  # of (any, rows), and minutes from row to row


def level(rows: Array, deviation: float, strength: float, other: Array) -> Array:
    return rows + strength * deviation


def drift(rows: Array, deviation: float, strength: float, other: Array) -> Array:
    return rows + strength * deviation * np.linspace(0, 1, len(rows))


def frozen(rows: Array, deviation: float, strength: float, other: Array) -> Array:
    return np.asarray(rows[0] + (rows - rows[0]) / (1 + strength))


def variance(rows: Array, deviation: float, strength: float, other: Array) -> Array:
    return np.asarray(rows.mean() + (1 + strength) * (rows - rows.mean()))


def correlation(rows: Array, deviation: float, strength: float, other: Array) -> Array:
    foreign = strength / (1 + strength)
    return np.asarray(rows.mean() + np.sqrt(1 - foreign**2) * (rows - rows.mean()) + foreign * (other - other.mean()))


FAULTS: Final[Mapping[str, Fault]] = {fault.__name__: fault for fault in (level, drift, frozen, variance, correlation)}


def ours(window: Array, before: Array, floor: Array) -> Squares:
    model = taught(window, before, floor)
    return lambda values, before: raw(model.carried(values, before))


def mean_z2(window: Array, before: Array, floor: Array) -> Squares:
    own, square = scale(window, floor), mean_square(window)
    return lambda values, before: np.stack([square(rows) for rows in own.deviations(values)])


def own_hold(squares: Array, step_min: int) -> Array:
    return held(squares, step_min * 60.0)


def ten_minute_mean(squares: Array, step_min: int) -> Array:
    return np.stack([ten_minutes(lambda one=one: one, step_min, 0.0).score for one in squares])


METHODS: Final[Mapping[str, tuple[Fit, Smooth]]] = {
    "gpuwarden": (ours, own_hold), "mean_z2_refit": (mean_z2, ten_minute_mean), "mean_z2_refit_held": (mean_z2, own_hold),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Trials:
    """Of one method, kinds by strengths: how often it was tried and found. `false` findings in `node_days` without a fault."""

    tried: Array
    found: Array
    false: int
    node_days: float

    def plus(self, other: "Trials") -> "Trials":
        return Trials(self.tried + other.tried, self.found + other.found, self.false + other.false, self.node_days + other.node_days)

    def f(self) -> Array:
        """False findings count as often as each day was tried."""
        false = self.false * self.tried / max(self.node_days, 1e-9)
        return 2 * self.found / (self.found + self.tried + false)


@dataclass(frozen=True, slots=True)
class Day:
    """One that is held out, of one entity: `learned` and `at` are rows of its values (1, rows, metrics); `before` is their past."""

    values: Array
    before: Array
    learned: slice
    at: slice
    step_min: int

    def injected(self, chance: np.random.Generator) -> tuple[Array, int]:
        """(kinds x strengths, rows, metrics) of the run-up and the day, and in which of these rows the fault begins."""
        window = self.values[0, self.learned]
        lasts, run_up = LASTS_MIN // self.step_min, RUN_UP_MIN // self.step_min
        varying = np.flatnonzero(window.std(0) > floors(window[None])[0, 0])
        metric, first = int(chance.choice(varying)), run_up + int(chance.integers(self.at.stop - self.at.start - lasts))
        other = window[int(chance.integers(len(window) - lasts)) :][:lasts, metric]
        rows = self.values[0, self.at.start - run_up : self.at.stop]
        made = np.repeat(rows[None], len(FAULTS) * len(STRENGTHS), 0)
        for place, (fault, strength) in enumerate((fault, strength) for fault in FAULTS.values() for strength in STRENGTHS):
            made[place, first : first + lasts, metric] = fault(rows[first : first + lasts, metric], float(window[:, metric].std()), strength, other)
        return made, first


def held_out(entity: Entity, step_min: int) -> list[Day]:
    """Whole days only."""
    values = entity.train[None]
    before = past(values, step_min * 60.0)
    all_days = [Day(values, before, learned, at, step_min) for learned, at in days(values.shape[1], step_min * 60.0)]
    return [day for day in all_days if (1 - HELD_OUT) * values.shape[1] <= day.at.start and day.at.stop <= values.shape[1]]


def of_entity(entity: Entity, step_min: int, fit: Fit, smooth: Smooth, seeds: int) -> Trials:
    step_s, floor, values = step_min * 60.0, floors(entity.train[None]), entity.train[None]
    squares, before = np.full(values.shape[:2], np.nan), past(values, step_s)
    models = dict[int, Squares]()
    for learned, at in days(values.shape[1], step_s):
        models[at.start] = fit(values[:, learned], before[:, learned], floor)
        squares[:, at] = models[at.start](values[:, at], before[:, at])
    healthy = smooth(squares, step_min)
    levels = daily(healthy, step_s, BUDGET)
    tried = np.zeros((len(FAULTS), len(STRENGTHS)))
    found, false, of = tried.copy(), 0, held_out(entity, step_min)
    for day in of:
        above = healthy[:, day.at] > levels[:, day.at]
        false += findings(above, step_s)
        for seed in range(seeds):
            rows, first = day.injected(np.random.default_rng([seed, day.at.start]))
            flags = _flags(day, models[day.at.start], smooth, rows, squares, float(levels[0, day.at.start]))
            span = slice(first - (rows.shape[1] - above.shape[1]), None)
            span = slice(span.start, span.start + (LASTS_MIN + round(JOIN_S / 60)) // step_min)
            found += (flags[:, span] & ~above[:, span]).any(1).reshape(found.shape)
            tried += 1
    return Trials(tried, found, false, float(len(of)))


def _flags(day: Day, model: Squares, smooth: Smooth, rows: Array, squares: Array, threshold: float) -> Array:
    """(any, rows of the day)."""
    run_up = rows.shape[1] - (day.at.stop - day.at.start)
    before = past(rows, day.step_min * 60.0)
    run_up_squares = np.repeat(squares[:, day.at.start - run_up : day.at.start], len(rows), 0)
    made = np.concatenate((run_up_squares, model(rows[:, run_up:], before[:, run_up:])), 1)
    return np.asarray(smooth(made, day.step_min)[:, run_up:] > threshold)


def of_set(one: LabelledSet, seeds: int) -> dict[str, Trials]:
    made = dict[str, Trials]()
    for name, (fit, smooth) in METHODS.items():
        for entity in one.entities:
            trials = of_entity(entity, one.step_min, fit, smooth, seeds)
            made[name] = made[name].plus(trials) if name in made else trials
        print(f"{one.name} {name}", file=sys.stderr, flush=True)
    return made


def shown(one: LabelledSet, made: Mapping[str, Trials]) -> str:
    some = next(iter(made.values()))
    lines = [
        f"\n{one.name}: {len(one.entities)} entities, {some.node_days:.0f} node-days held out, {some.tried[0, 0]:.0f} faults of each kind and strength; share found, F",
        f"| fault | row | {' | '.join(f'{strength:g}' for strength in STRENGTHS)} |", f"|---|---|{'---|' * len(STRENGTHS)}",
    ]  # fmt: skip
    for at, fault in enumerate(FAULTS):
        for name, of in made.items():
            cells = " | ".join(f"{share:.2f}, {f:.2f}" for share, f in zip((of.found / of.tried)[at], of.f()[at], strict=True))
            lines.append(f"| {fault} | `{name}` | {cells} |")
    lines += [f"{name}: {of.false} findings in {of.node_days:.0f} node-days without a fault" for name, of in made.items()]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3, help="faults of each kind and strength, a day")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    out = dict[str, object]()
    for one in read(given.data, None):
        if one.name in SETS:
            made = of_set(one, given.seeds)
            print(shown(one, made), flush=True)
            out[one.name] = {name: {"found": of.found.tolist(), "tried": of.tried.tolist(), "f": of.f().tolist(), "false": of.false} for name, of in made.items()}
    if not out:
        raise SystemExit(f"{given.data}: neither SMD nor ASD is there")
    if given.json:
        given.json.write_text(json.dumps({"faults": list(FAULTS), "strengths": STRENGTHS, "sets": out}, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
