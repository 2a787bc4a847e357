"""What bench/anomaly.py prints of a set."""

from collections.abc import Mapping
from typing import Any

from anomaly_sets import LabelledSet

Figures = Mapping[str, Any]


def shown(one: LabelledSet, rows: Mapping[str, Figures], budget: float) -> str:
    lines = [
        f"\n{one.name}: {len(one.entities)} entities, {one.node_days:.0f} node-days of test",
        f"| row | AUROC | AP | VUS-PR raw, judged | event recall at {budget} | at 0.01 | fit s | score s |", "|---|---|---|---|---|---|---|---|",
        *(_ranked(name, of, budget) for name, of in rows.items()),
        "| row, at its own threshold | event recall | false alarms per node-day | real over nominal | delay min, median, p90 | time in alarm |", "|---|---|---|---|---|---|",
        *(_at_own(name, of) for name, of in rows.items()),
        _against_best(rows["gpuwarden"]),
    ]  # fmt: skip
    return "\n".join(lines)


def _ranked(name: str, of: Figures, budget: float) -> str:
    swept = " | ".join(
        f"{of[f'event_recall_at_{at}']:.2f} ({of[f'false_alarms_low_at_{at}']:.3f} to {of[f'false_alarms_high_at_{at}']:.3f})" for at in (budget, 0.01)
    )
    return f"| `{name}` | {of['auroc']:.3f} | {of['ap']:.3f} | {of['vus_pr']:.3f}, {of['vus_pr_judged']:.3f} | {swept} | {of['fit_s']:.1f} | {of['score_s']:.1f} |"


def _at_own(name: str, of: Figures) -> str:
    false = f"{of['false_alarms_per_node_day']:.3f} ({of['false_alarms_low']:.3f} to {of['false_alarms_high']:.3f})"
    delays = "none" if of["delay_min_median"] is None else f"{of['delay_min_median']:.0f}, {of['delay_min_p90']:.0f}"
    return (
        f"| `{name}` | {of['event_recall_at_chosen']:.2f} | {false} | {of['real_over_nominal_false_alarms']:.2f} | "
        f"{delays} | {of['time_in_alarm']:.3f} |"
    )


def _against_best(ours: Figures) -> str:
    mean, low, high = ours["recall_above_best_refit"]
    _, ap_low, ap_high = ours["ap_above_best_refit_drawn"]
    said = (
        f"gpuwarden against {ours['best_refit']}: AP {ours['ap_above_best_refit']:+.3f} ({ap_low:+.3f} to {ap_high:+.3f}), "
        f"better on {ours['entities_above_best_refit']} entities; recall {mean:+.2f} ({low:+.2f} to {high:+.2f})"
    )
    if "root_cause" in ours:
        said += f"\nroot cause in the top k: {ours['root_cause']:.2f}, of plain |z| {ours['root_cause_plain_z']:.2f}, {ours['root_cause_events']} events"
    return said
