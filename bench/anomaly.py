"""How well are nodes judged, beside baselines that anybody could write? Three labelled sets of real servers; no point adjustment.

    python bench/anomaly.py --data DIR [--json FILE] [--entities N] [--seeds N]

DIR holds server_machine_dataset, application_server_dataset and jumpstarter_services, one npz an entity (train, test, label).
Scores of test rows are causal. AUROC, AP and VUS-PR are means over entities, VUS-PR of scores before they are smoothed, and of those that are judged. Recall at a budget is of events, at the
best single threshold for all entities of a set that keeps so many false alarms per node-day, beside the interval of the rate that it has there; "own" is at
the thresholds that each entity sets itself, each day, without labels, for 0.1.
"""

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from anomaly_measures import (
    Alarms,
    Array,
    Flags,
    alarms,
    ap_bootstrap,
    bootstrap,
    events,
    poisson_interval,
    ranking,
    swept,
    top_k_share,
)
from anomaly_page import shown
from anomaly_rows import REFIT, ROWS, Row, Run, ours
from anomaly_sets import Entity, LabelledSet, read
from anomaly_vus import vus_pr

from gpuwarden.detector.health.budget import daily
from gpuwarden.detector.health.scale import floors, scale

BUDGET: Final = 0.1  # false alarms per node-day
SWEPT: Final = (BUDGET, 0.01)
BUFFER_ROWS: Final = {"smd": 100}  # of VUS-PR
BUFFER_ROWS_ELSE: Final = 20
DRAWN: Final = 1000  # times, for the interval of the difference in AP
Figures = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Measured:
    """One row with one seed: `scores` of test rows, an entity each; `caught` by the best threshold within the budget."""

    figures: Figures
    entities: dict[str, Figures]
    scores: list[Array]
    caught: Flags


def measured(one: LabelledSet, row: Row, seed: int) -> Measured:
    runs = [row(e, one.step_min, seed) for e in one.entities]
    entities = {e.name: ranks(one, e, run) for e, run in zip(one.entities, runs, strict=True) if e.label.any()}
    figures: Figures = {key: float(np.mean([of[key] for of in entities.values()])) for key in ("auroc", "ap", "vus_pr", "vus_pr_judged")}
    scores = [of_test(run.score, e) for e, run in zip(one.entities, runs, strict=True)]
    best = swept(scores, [e.label for e in one.entities], one.step_min, SWEPT, one.node_days)
    for budget, at in best.items():
        low, high = poisson_interval(at.false, one.node_days)
        figures |= {f"event_recall_at_{budget}": float(at.caught.mean()), f"false_alarms_low_at_{budget}": low, f"false_alarms_high_at_{budget}": high}
    figures |= chosen(one, runs) | {"fit_s": sum(run.fit_s for run in runs), "score_s": sum(run.score_s for run in runs)}
    return Measured(figures, entities, scores, best[BUDGET].caught)


def of_test(score: Array, entity: Entity) -> Array:
    return np.nan_to_num(score[len(entity.train) :])


def ranks(one: LabelledSet, entity: Entity, run: Run) -> Figures:
    auroc, ap = ranking(of_test(run.score, entity), entity.label)
    raw, judged = (
        vus_pr(of_test(score, entity), entity.label, events(entity.label), BUFFER_ROWS.get(one.name, BUFFER_ROWS_ELSE)) for score in (run.raw, run.score)
    )
    return {"auroc": auroc, "ap": ap, "vus_pr": raw, "vus_pr_judged": judged}


def chosen(one: LabelledSet, runs: list[Run]) -> Figures:
    """At the threshold that each entity sets itself every day. Delays are of the events that it catches there."""
    seen, on = list[Alarms](), 0
    for run, e in zip(runs, one.entities, strict=True):
        above = (run.score > daily(run.score[None], one.step_min * 60.0, BUDGET)[0])[len(e.train) :]
        seen.append(alarms(above, e.label, one.step_min))
        on += int(above.sum())
    false, delays = sum(a.false for a in seen), one.step_min * np.concatenate([a.delay_rows for a in seen])
    low, high = poisson_interval(false, one.node_days)
    delays = delays[~np.isnan(delays)]
    return {
        "event_recall_at_chosen": float(np.concatenate([a.caught for a in seen]).mean()),
        "false_alarms_per_node_day": false / one.node_days, "false_alarms_low": low, "false_alarms_high": high,
        "real_over_nominal_false_alarms": false / one.node_days / BUDGET,
        "delay_min_median": float(np.median(delays)) if len(delays) else None,
        "delay_min_p90": float(np.quantile(delays, 0.9)) if len(delays) else None,
        "time_in_alarm": on / sum(len(e.test) for e in one.entities),
    }  # fmt: skip


def over_seeds(one: LabelledSet, row: Row, seeds: int) -> tuple[Figures, Measured]:
    """Means, and the first seed's."""
    runs = [measured(one, row, seed) for seed in range(seeds)]
    entities = {name: mean([run.entities[name] for run in runs]) for name in runs[0].entities}
    return mean([run.figures for run in runs]) | {"entities": entities, "ap_of_seeds": [run.figures["ap"] for run in runs]}, runs[0]


def mean(of: list[Figures]) -> Figures:
    """Of what is there: a seed that catches nothing has no delay."""
    known = {key: [one[key] for one in of if one[key] is not None] for key in of[0]}
    return {key: float(np.mean(values)) if values else None for key, values in known.items()}


def causes(one: LabelledSet) -> Figures:
    """Root cause, where it is labelled: share of an event's metrics in the top k of ours, and of |z| against the train half."""
    ours_share, plain_share = [], []
    for e in one.entities:
        carried = ours(e, one.step_min).carried[0, len(e.train) :] if e.causes else np.empty(0)
        plain = np.abs(static_deviations(e))
        for first, last, metrics in e.causes:
            ours_share.append(top_k_share(carried, first, last, metrics))
            plain_share.append(top_k_share(plain, first, last, metrics))
    if not ours_share:
        return {}
    return {"root_cause": float(np.mean(ours_share)), "root_cause_plain_z": float(np.mean(plain_share)), "root_cause_events": len(ours_share)}


def static_deviations(e: Entity) -> Array:
    return scale(e.train[None], floors(e.train[None])).deviations(e.test[None])[0]


def of_set(one: LabelledSet, seeds: int) -> Figures:
    rows, firsts = dict[str, Figures](), dict[str, Measured]()
    for name, row, chance in ROWS:
        rows[name], firsts[name] = over_seeds(one, row, seeds if chance else 1)
        print(f"{one.name} {name}", file=sys.stderr, flush=True)
    best = max(REFIT, key=lambda name: rows[name]["ap"])
    mine, theirs = firsts["gpuwarden"], firsts[best]
    labelled = [at for at, e in enumerate(one.entities) if e.label.any()]
    rows["gpuwarden"] |= causes(one) | {
        "best_refit": best,
        "ap_above_best_refit": mine.figures["ap"] - theirs.figures["ap"],
        "ap_above_best_refit_drawn": ap_bootstrap(
            [mine.scores[at] for at in labelled], [theirs.scores[at] for at in labelled], [one.entities[at].label for at in labelled], 1, DRAWN
        ),
        "entities_above_best_refit": sum(of["ap"] > theirs.entities[name]["ap"] for name, of in mine.entities.items()),
        "recall_above_best_refit": bootstrap(mine.caught, theirs.caught, seed=1),
    }
    return rows


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
        print(shown(one, sets[one.name], BUDGET), flush=True)
    if not sets:
        raise SystemExit(f"{given.data}: none of the sets is there")
    if given.json:
        given.json.write_text(json.dumps({"budget_per_node_day": BUDGET, "sets": sets}, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
