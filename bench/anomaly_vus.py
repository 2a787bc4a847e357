"""VUS-PR: the area under precision and recall of rows, where rows near an event count in part, averaged over how near.

Paparrizos et al., Volume Under the Surface, PVLDB 15(11), 2022; with existence reward and thresholds as their published code `vus` has them, whose loop over
rows would take hours here.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
Spans = NDArray[np.intp]  # (n, 2): first row, and the row after the last

THRESHOLDS: Final = 250


def vus_pr(score: Array, label: Flags, spans: Spans, buffer: int) -> float:
    """Of scores (rows,) and the events `spans` of `label` (rows,); `buffer` is the widest, in rows of both sides together."""
    worst_first = np.argsort(-score, kind="stable")
    levels = score[worst_first][np.linspace(0, len(score) - 1, THRESHOLDS).astype(np.intp)]
    flagged = len(score) - np.searchsorted(score[worst_first][::-1], levels)  # rows at or above each level
    return float(np.mean([_area(score, label, spans, width, worst_first, levels, flagged) for width in range(buffer + 1)]))


def _area(score: Array, label: Flags, spans: Spans, width: int, worst_first: Spans, levels: Array, flagged: Spans) -> float:
    near = _nearness(label, spans, width)
    hits = np.cumsum(near[worst_first])[flagged - 1]
    beside = np.cumsum(np.where(label, 0, near)[worst_first])[flagged - 1]
    touched = np.array([score[first:end].max() for first, end in _joined(spans, width // 2, len(score))])
    existence = (touched >= levels[:, None]).mean(1)
    recall = np.minimum(hits / (label.sum() + beside / 2), 1) * existence
    return float((np.diff(recall, prepend=0) * hits / flagged).sum())


def _nearness(label: Flags, spans: Spans, width: int) -> Array:
    """1 in an event, and falling with the distance from it, to width / 2 on each side."""
    near = label.astype(np.float64)
    for first, end in spans:
        for away in range(1, width // 2 + 1):
            for row in (first - away, end - 1 + away):
                if 0 <= row < len(near):
                    near[row] = min(1.0, near[row] + np.sqrt(1 - away / width))
    return near


def _joined(spans: Spans, half: int, rows: int) -> list[tuple[int, int]]:
    """Events widened by so much on each side, as one where they meet."""
    out: list[tuple[int, int]] = []
    for first, end in spans.tolist():
        low, high = max(first - half, 0), min(end + half, rows)
        if out and low < out[-1][1]:
            out[-1] = out[-1][0], high
        else:
            out.append((low, high))
    return out
