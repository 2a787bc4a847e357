"""How well are nodes judged, beside baselines that anybody could write? Three labelled sets of real servers; no point adjustment.

    python bench/anomaly.py --data DIR [--json FILE] [--entities N] [--seeds N]

DIR holds server_machine_dataset, application_server_dataset and jumpstarter_services, one npz an entity (train, test, label).
Scores of test rows are causal. Recall is of events, at the best single threshold for all entities of a set that keeps 0.1 false
alarms per node-day; beside it what gpuwarden catches at the thresholds that it sets itself, each day, without labels, for that budget.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
from anomaly_measures import (
    Alarms,
    Array,
    Flags,
    alarms,
    bootstrap,
    poisson_interval,
    ranking,
    swept,
    top_k_share,
)
from anomaly_rows import REFIT, ROWS, Row, ours
from anomaly_sets import Entity, LabelledSet, read

from gpuwarden.detector.health.budget import daily
from gpuwarden.detector.health.rolling import Scored
from gpuwarden.detector.health.scale import floors, scale

BUDGET: Final = 0.1  # false alarms per node-day
Figures = dict[str, Any]


def measured(one: LabelledSet, row: Row, seed: int) -> tuple[Figures, list[float], Flags]:
    """(figures, AP of each entity, which events are caught within the budget)."""
    began_s = time.perf_counter()
    scores = [known(row(e, one.step_min, seed)[len(e.train) :]) for e in one.entities]
    took_s = time.perf_counter() - began_s
    ranked = [ranking(score, e.label) for score, e in zip(scores, one.entities, strict=True) if e.label.any()]
    caught = swept(scores, [e.label for e in one.entities], one.step_min, (BUDGET,), one.node_days)[BUDGET]
    aurocs, aps = zip(*ranked, strict=True)
    figures = {
        "auroc": float(np.mean(aurocs)), "ap": float(np.mean(aps)), f"event_recall_at_{BUDGET}": float(caught.mean()), "seconds": took_s,
    }
    return figures, list(aps), caught


def known(score: Array) -> Array:
    return np.nan_to_num(score)


def over_seeds(one: LabelledSet, row: Row, seeds: int) -> tuple[Figures, list[float], Flags]:
    runs = [measured(one, row, seed) for seed in range(seeds)]
    return {key: float(np.mean([run[0][key] for run in runs])) for key in runs[0][0]}, runs[0][1], runs[0][2]


def chosen(one: LabelledSet, judged: list[Scored]) -> Figures:
    """At the threshold that each node sets itself every day."""
    seen: list[Alarms] = []
    for s, e in zip(judged, one.entities, strict=True):
        above = s.score > daily(s.score, one.step_min * 60.0, BUDGET)
        seen.append(alarms(above[0, len(e.train) :], e.label, one.step_min))
    false = sum(a.false for a in seen)
    return {
        "event_recall_at_chosen": float(np.concatenate([a.caught for a in seen]).mean()),
        "false_alarms_per_node_day": false / one.node_days,
        "false_alarms_interval": poisson_interval(false, one.node_days),
        "real_over_nominal_false_alarms": false / one.node_days / BUDGET,
    }


def causes(one: LabelledSet, judged: list[Scored]) -> Figures:
    """Root cause, where it is labelled: share of an event's metrics in the top k of ours, and of |z| against the train half."""
    ours_share, plain_share = [], []
    for s, e in zip(judged, one.entities, strict=True):
        plain = np.abs(static_deviations(e))
        for first, last, metrics in e.causes:
            ours_share.append(top_k_share(s.carried[0, len(e.train) :], first, last, metrics))
            plain_share.append(top_k_share(plain, first, last, metrics))
    if not ours_share:
        return {}
    return {"root_cause": float(np.mean(ours_share)), "root_cause_plain_z": float(np.mean(plain_share)), "root_cause_events": len(ours_share)}


def static_deviations(e: Entity) -> Array:
    return scale(e.train[None], floors(e.train[None])).deviations(e.test[None])[0]


def of_set(one: LabelledSet, seeds: int) -> Figures:
    rows: dict[str, Figures] = {}
    aps: dict[str, list[float]] = {}
    caught: dict[str, Flags] = {}
    for name, row, chance in ROWS:
        rows[name], aps[name], caught[name] = over_seeds(one, row, seeds if chance else 1)
        print(f"{one.name} {name}", file=sys.stderr, flush=True)
    best = max(REFIT, key=lambda name: rows[name]["ap"])
    judged = [ours(e, one.step_min) for e in one.entities]
    rows["gpuwarden"] |= chosen(one, judged) | causes(one, judged) | {
        "best_refit": best,
        "ap_above_best_refit": rows["gpuwarden"]["ap"] - rows[best]["ap"],
        "entities_above_best_refit": int(np.sum(np.array(aps["gpuwarden"]) > np.array(aps[best]))),
        "recall_above_best_refit": bootstrap(caught["gpuwarden"], caught[best], seed=1),
    }
    return rows


def shown(one: LabelledSet, rows: Figures) -> str:
    lines = [
        f"\n{one.name}: {len(one.entities)} entities, {one.node_days:.0f} node-days of test",
        "| row | AUROC | AP | event recall at 0.1 | seconds |", "|---|---|---|---|---|",
    ]
    for name, f in rows.items():
        lines.append(f"| `{name}` | {f['auroc']:.3f} | {f['ap']:.3f} | {f['event_recall_at_0.1']:.2f} | {f['seconds']:.1f} |")
    ours_ = rows["gpuwarden"]
    mean, low, high = ours_["recall_above_best_refit"]
    few, many = ours_["false_alarms_interval"]
    lines.append(
        f"gpuwarden against {ours_['best_refit']}: AP {ours_['ap_above_best_refit']:+.3f}, better on {ours_['entities_above_best_refit']} entities; "
        f"recall {mean:+.2f} ({low:+.2f} to {high:+.2f})\n"
        f"at its own threshold: recall {ours_['event_recall_at_chosen']:.2f}, {ours_['false_alarms_per_node_day']:.3f} false alarms per node-day "
        f"({few:.3f} to {many:.3f}), {ours_['real_over_nominal_false_alarms']:.2f} of the budget"
    )
    if "root_cause" in ours_:
        lines.append(
            f"root cause in the top k: {ours_['root_cause']:.2f}, of plain |z| {ours_['root_cause_plain_z']:.2f}, {ours_['root_cause_events']} events"
        )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--entities", type=int, help="of each set, at most")
    parser.add_argument("--seeds", type=int, default=3, help="of the rows in which chance plays a part")
    given = parser.parse_args()
    sets: Figures = {}
    for one in read(given.data, given.entities):
        sets[one.name] = of_set(one, given.seeds)
        print(shown(one, sets[one.name]), flush=True)
    if not sets:
        raise SystemExit(f"{given.data}: none of the sets is there")
    if given.json:
        given.json.write_text(json.dumps({"budget_per_node_day": BUDGET, "sets": sets}, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
