"""What `gpuwarden train` has learned, as a table and as JSON."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from gpuwarden.cli.plain_text import aligned, printable, who

if TYPE_CHECKING:
    from gpuwarden.detector.health.fit import Fitted
    from gpuwarden.detector.health.learned import Learned
    from gpuwarden.detector.health.train import Lessons
    from gpuwarden.detector.past.piece import Span

SHOWN: Final = 12  # nodes; the others are in the JSON
_TITLE: Final = ("NODE", "DAYS", "GAPS", "CAPPED", "THRESHOLD", "WOULD HAVE FIRED")


def as_json(model_id: str, promoted: bool, budget: float, span: "Span", lessons: "Lessons", learned: "Learned") -> dict[str, Any]:
    from gpuwarden.detector.health.features import LEARNED
    from gpuwarden.detector.past.features import FEATURES

    names = [FEATURES[column].name for column in learned.columns.tolist()]
    vary = set(learned.varying.tolist())
    dead = sorted({FEATURES[column].name for column in LEARNED.tolist()} - set(names))
    judged = sum(one.judged_days for one in lessons.fitted)
    fired = sum(one.fired for one in lessons.fitted)
    return {
        "model": model_id, "promoted": promoted, "from": when(span.first), "until": when(span.end), "budget_per_node_day": budget,
        "nodes": [_node(one) for one in lessons.fitted],
        "too_little": {one.node: one.known_minutes for one in lessons.too_little},
        "features": {"varying": [names[i] for i in sorted(vary)], "constant": [name for i, name in enumerate(names) if i not in vary], "dead": dead},
        "would_have_fired": fired, "judged_node_days": judged, "per_node_day": fired / judged if judged else None,
        "left_out": {name: getattr(lessons, name) for name in ("repeats", "falls", "twice_minutes", "restart_minutes")},
        "bytes_per_node": learned.size_bytes / len(learned.nodes),
    }  # fmt: skip


def when(minute: int) -> str:
    """A minute since 1970, as people write it."""
    return f"{datetime.fromtimestamp(60 * minute, UTC):%Y-%m-%dT%H:%M}Z"


def _node(one: "Fitted") -> dict[str, Any]:
    gaps = 1 - (one.known_minutes + one.capped_minutes) / max(one.minutes, 1)
    return {
        "node": one.node, "days": one.minutes / 1440, "gap_ratio": max(0.0, gaps), "capped_days": one.capped_minutes / 1440,
        "threshold": one.threshold, "would_have_fired": one.fired, "judged_days": one.judged_days,
    }  # fmt: skip


def lines(made: dict[str, Any]) -> Iterator[str]:
    nodes, features = made["nodes"], made["features"]
    levels = [one["threshold"] for one in nodes]
    yield f"{len(nodes)} nodes, {made['from']} to {made['until']}: {_counts(features)}"
    yield f"thresholds {min(levels):.1f} to {max(levels):.1f}, median {np.median(levels):.1f}, for {made['budget_per_node_day']:g} findings a node and day"
    yield _fired(made)
    if made["too_little"]:
        yield f"left out, with too little history: {printable(who(sorted(made['too_little'])))}"
    yield from _oddities(made["left_out"])
    yield ""
    worst = sorted(nodes, key=lambda one: (-one["would_have_fired"], -one["gap_ratio"], one["node"]))[:SHOWN]
    yield from aligned([_TITLE, *map(_cells, worst)], range(1, len(_TITLE)))
    if len(nodes) > SHOWN:
        yield f"and {len(nodes) - SHOWN} more; --json has all"
    yield ""
    yield f"{made['model']} {'judges from the next minute on' if made['promoted'] else 'is in the shadow: gpuwarden models promote'}"


def _counts(features: dict[str, list[str]]) -> str:
    return f"{len(features['varying'])} metrics that vary, {len(features['constant'])} that never did, {len(features['dead'])} that no node tells"


def _fired(made: dict[str, Any]) -> str:
    if made["per_node_day"] is None:
        return "what it would have fired is not known: that takes more than two days of history"
    days = f"{made['judged_node_days']:.0f} node-days that it was not fitted on"
    return f"would have fired {made['would_have_fired']} times in {days}: {made['per_node_day']:.2f} a node and day"


def _oddities(left_out: dict[str, int]) -> Iterator[str]:
    said = {
        "repeats": "readings that came twice", "falls": "minutes in which a counter fell", "restart_minutes": "minutes in which an agent started anew",
        "twice_minutes": "minutes that were lived twice, since a clock was set back",
    }  # fmt: skip
    if odd := [f"{left_out[name]:,} {what}" for name, what in said.items() if left_out[name]]:
        yield f"passed over: {', '.join(odd)}"


def _cells(one: dict[str, Any]) -> tuple[str, ...]:
    ratios = (one["gap_ratio"], one["capped_days"] / max(one["days"], 1e-9))
    gaps, capped = (f"{100 * ratio:.1f} %" for ratio in ratios)
    fired = f"{one['would_have_fired']} in {one['judged_days']:.1f} days" if one["judged_days"] else "not known"
    return printable(one["node"]), f"{one['days']:.1f}", gaps, capped, f"{one['threshold']:.1f}", fired
