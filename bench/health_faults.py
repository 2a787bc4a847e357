"""Which faults of a simulated room the model of health finds, how soon and from which metric, by strength; and which healthy changes alarm.

    python bench/health_faults.py [--days 8] [--seed 1] [--json FILE]

Pairs of nodes share a job. In one room a node of each pair has one of the nine faults of sim/health for eight hours of the last day but one, in another
each pair has one of the ten changes. Nothing is labelled: the model is refit daily on the five days before, and each node's threshold keeps a budget of
0.1 findings a node and day over its last week. A job that ends or begins is a change like any other, so there are such in every room.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Final

import numpy as np

from gpuwarden.detector.health.budget import daily, findings
from gpuwarden.detector.health.rolling import Scored, scored
from gpuwarden.detector.health.scale import floors
from gpuwarden.sim.health.changes import OF_JOBS, OF_NODES
from gpuwarden.sim.health.faults import FAULTS
from gpuwarden.sim.health.ward import Bout, Room, Told, told

STRENGTHS: Final = (0.03, 0.1, 0.3, 1.0)
DAY: Final = 1440
LASTS: Final = 480
STEP_S: Final = 60.0
BUDGET: Final = 0.1  # findings a node and day


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--days", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    first, made = (args.days - 2) * DAY + 600, dict[str, dict[str, object]]()
    for strength in STRENGTHS:
        bouts = [Bout(fault, 2 * place, first, first + LASTS, strength) for place, fault in enumerate(FAULTS)]
        room, judged, above = _judged(Room(2 * len(FAULTS), 2, args.seed), args.days * DAY, bouts)
        for bout in bouts:
            made[f"{bout.what} {strength:g}"] = _of(bout.at, bout, room, judged, above)
        well = above.copy()
        well[0::2, first : first + LASTS] = False
        _say(f"strength {strength:g}", made, [f"{bout.what} {strength:g}" for bout in bouts], well)
    changes = [Bout(change, place, first, first + LASTS) for place, change in enumerate((*OF_JOBS, *OF_NODES))]
    room, judged, above = _judged(Room(2 * len(changes), 2, args.seed + 1), args.days * DAY, changes)
    for bout in changes:
        made[bout.what] = _of(2 * bout.at, bout, room, judged, above)
    _say("healthy changes, which should not be found", made, [bout.what for bout in changes], above)
    if args.json:
        args.json.write_text(json.dumps(made) + "\n", encoding="utf-8")
    return 0


def _judged(room: Room, minutes: int, bouts: list[Bout]) -> tuple[Told, Scored, np.ndarray[tuple[int, ...], np.dtype[np.bool_]]]:
    seen = told(room, minutes, bouts)
    values = seen.values.astype(np.float64)
    judged = scored(values, STEP_S, floors(values[:, : 5 * DAY]))
    above = judged.score > daily(judged.score, STEP_S, BUDGET)
    above[:, : 6 * DAY] = False  # the first week only teaches
    return seen, judged, above


def _of(node: int, bout: Bout, room: Told, judged: Scored, above: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> dict[str, object]:
    rows = np.flatnonzero(above[node, bout.first : bout.end])
    if not len(rows):
        return {"found": False}
    carried = np.nan_to_num(judged.carried[node, bout.first : bout.first + rows[0] + 1][-10:]).mean(axis=0)
    return {"found": True, "after_minutes": int(rows[0]), "by": [room.columns[place] for place in np.argsort(-carried)[:2]]}


def _say(title: str, made: dict[str, dict[str, object]], names: list[str], well: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> None:
    judged_days = well.shape[0] * (well.shape[1] - 6 * DAY) / DAY
    print(f"{title}; elsewhere {findings(well, STEP_S)} findings in {judged_days:.0f} node-days")
    for name in names:
        told_of = made[name]
        said = f"after {told_of['after_minutes']} minutes, by {', '.join(map(str, told_of['by']))}" if told_of["found"] else "not found"  # type: ignore[call-overload]  # a list where it is found
        print(f"  {name:24} {said}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
