"""Which faults of a simulated room the model of health finds, how soon and from which metric, by strength; and which healthy changes alarm.

    python bench/health_faults.py [--days 8] [--seed 1] [--json FILE]

Pairs of nodes share a job. In one room a node of each pair has one of the nine faults of sim/health for eight hours of the last day but one, in another
each pair has one of the ten changes. Nothing is labelled: the model is refit daily on the five days before, and each node's threshold keeps a budget of
0.1 findings a node and day over its last week. A job that ends or begins is a change like any other, so there are such in every room.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gpuwarden.detector.health.budget import daily, findings
from gpuwarden.detector.health.rolling import Scored, scored
from gpuwarden.detector.health.scale import Array, floors
from gpuwarden.detector.health.score import guilty
from gpuwarden.sim.health.changes import OF_JOBS, OF_NODES
from gpuwarden.sim.health.faults import FAULTS
from gpuwarden.sim.health.ward import Bout, Room, Told, told

STRENGTHS: Final = (0.03, 0.1, 0.3, 1.0)
DAY: Final = 1440
TAUGHT_DAYS: Final = 6  # before them nothing is judged
LASTS: Final = 480
STEP_S: Final = 60.0
BUDGET: Final = 0.1  # findings a node and day
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Seen:
    """Of one bout: its highest score, that of the other node of the job meanwhile, and the threshold. `after_minutes`: None where it was not found."""

    what: str
    strength: float
    highest: float
    other: float
    threshold: float
    after_minutes: int | None
    by: tuple[str, ...]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--days", type=int, default=TAUGHT_DAYS + 2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if args.days < TAUGHT_DAYS + 2:
        parser.error(f"--days: is {args.days}, should be {TAUGHT_DAYS + 2} or more: the first {TAUGHT_DAYS} only teach")
    first, made = (args.days - 2) * DAY + 600, list[Seen]()
    for strength in STRENGTHS:
        bouts = [Bout(fault, 2 * place, first, first + LASTS, strength) for place, fault in enumerate(FAULTS)]
        made += _judged(f"faults at {strength:g}", Room(2 * len(FAULTS), 2, args.seed), args.days, bouts)
    changes = [Bout(change, place, first, first + LASTS) for place, change in enumerate((*OF_JOBS, *OF_NODES))]
    made += _judged("healthy changes, which should not be found", Room(2 * len(changes), 2, args.seed + 1), args.days, changes)
    if args.json:
        args.json.write_text(json.dumps([asdict(one) for one in made], indent=1) + "\n", encoding="utf-8")
    return 0


def _judged(title: str, room: Room, days: int, bouts: Sequence[Bout]) -> list[Seen]:
    """Prints what became of each bout, and how often anything else was found."""
    told_of = told(room, days * DAY, bouts)
    values = told_of.values.astype(np.float64)
    judged = scored(values, STEP_S, floors(values[:, : (TAUGHT_DAYS - 1) * DAY]))
    thresholds = daily(judged.score, STEP_S, BUDGET)
    above = judged.score > thresholds
    above[:, : TAUGHT_DAYS * DAY] = False
    made = [_seen(bout, told_of, judged, thresholds, above) for bout in bouts]
    for bout in bouts:
        above[[bout.at] if bout.what in FAULTS else [2 * bout.at, 2 * bout.at + 1], bout.first : bout.end] = False
    print(f"{title}; besides these {findings(above, STEP_S)} findings in {room.nodes * (days - TAUGHT_DAYS)} node-days")
    for one in made:
        found = "not found" if one.after_minutes is None else f"after {one.after_minutes} minutes, by {', '.join(one.by)}"
        scores = f"{one.highest:6.1f} at most, the job's other node {one.other:6.1f}, threshold {one.threshold:6.1f}"
        print(f"  {one.what:17} {scores}: {found}", flush=True)
    return made


def _seen(bout: Bout, told_of: Told, judged: Scored, thresholds: Array, above: Flags) -> Seen:
    node = bout.at if bout.what in FAULTS else 2 * bout.at
    meanwhile, rows = slice(bout.first, bout.end), np.flatnonzero(above[node, bout.first : bout.end])
    highest, other = (float(np.nanmax(judged.score[one, meanwhile])) for one in (node, node ^ 1))
    threshold, after, by = float(thresholds[node, bout.first]), None, ()
    if len(rows):
        after = int(rows[0])
        by = tuple(name for name, _ in guilty(judged.carried[node, bout.first + after], told_of.columns, 2))
    return Seen(bout.what, bout.strength, highest, other, threshold, after, by)


if __name__ == "__main__":
    sys.exit(main())
