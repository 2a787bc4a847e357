"""The figures of a run, for machines as JSON and for people as sentences."""

from collections.abc import Iterator
from typing import Any

from gpuwarden.controller.ledger import Ledger
from gpuwarden.sim.cluster import Cluster, Row


def figures(row: Row, cluster: Cluster, ledger: Ledger, asked: dict[str, Any]) -> dict[str, Any]:
    """The same for the same seed and load, on every machine and at any speed. `asked` is what the command was told."""
    tally, detector = cluster.tally, cluster.detector
    judged = detector.samples_judged
    return {
        **asked,
        "nodes": len(cluster.nodes),
        "duration_s": round(cluster.time.now_s, 3),
        "samples_sent": tally.samples_sent,
        "samples_judged": judged,
        "samples_lost": max(detector.samples_lost, tally.samples_sent - judged - detector.samples_repeated),
        "samples_repeated": detector.samples_repeated,
        "samples_refused": tally.dead_letters,
        "peak_before_w": round(tally.peak_before_w, 1),
        "peak_after_w": round(tally.peak_after_w, 1),
        "over_budget_s": round(tally.over_budget.total_s, 3),
        "over_budget_longest_s": round(tally.over_budget.longest_s, 3),
        "energy_wanted_kwh": round(tally.wanted_j / 3.6e6, 3),
        "energy_drawn_kwh": round(tally.drawn_j / 3.6e6, 3),
        "caps_set": sum(node.limits_set for node in cluster.nodes),
        "grants_sent": tally.grants_sent,
        "ledger_actions": ledger.line_count(),
        "ledger_agrees": ledger.line_count() == sum(tally.ledger_ordered.values()),
        "ledger_kinds": dict(sorted(tally.ledger_ordered.items())),
        "findings_firing": detector.findings_firing,
        "alerts": len(tally.alerts_fired),
    }


def sentences(made: dict[str, Any]) -> Iterator[str]:
    """What a person wants to know when it is over."""
    minutes, budget_kw = made["duration_s"] / 60, made["budget_w"] / 1e3
    yield f"{made['nodes']} nodes for {minutes:,.1f} minutes of their time, budget {budget_kw:,.1f} kW, mode {made['mode']}."
    yield (
        f"Power: would have peaked at {made['peak_before_w'] / 1e3:,.1f} kW, peaked at {made['peak_after_w'] / 1e3:,.1f} kW; "
        f"above the budget for {made['over_budget_s']:g} s in all, {made['over_budget_longest_s']:g} s at most in one go."
    )
    yield (
        f"Work: the cards drew {made['energy_drawn_kwh']:,.1f} of the {made['energy_wanted_kwh']:,.1f} kWh that their load wanted; "
        f"{made['caps_set']:,} limits set on cards."
    )
    yield (
        f"Telemetry: {made['samples_sent']:,} samples sent, {made['samples_judged']:,} judged, {made['samples_lost']} lost, "
        f"{made['samples_repeated']} judged twice, {made['samples_refused']} refused."
    )
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in made["ledger_kinds"].items())
    agrees = "as many as were ordered" if made["ledger_agrees"] else "NOT as many as were ordered"
    yield f"Ledger: {made['ledger_actions']:,} lines ({kinds}), {agrees}."
    if made.get("log_holes"):
        yield f"The log has {made['log_holes']} holes: its node was silent there."
    yield f"Findings firing at the end: {made['findings_firing']}; alerts fired: {made['alerts']}."
