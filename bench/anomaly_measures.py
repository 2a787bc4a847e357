"""What is measured of a score: how it ranks rows, and what an operator would see of it. No point adjustment anywhere.

Flags less than 10 minutes apart are one alarm, counted again every 4 hours; it is true where it touches an event or the 10 minutes after.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2
from sklearn.metrics import average_precision_score, roc_auc_score

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
Spans = NDArray[np.intp]  # (n, 2): first row, and the row after the last

JOIN_MIN: Final = 10
AGAIN_MIN: Final = 240
SWEPT: Final = 300  # thresholds


@dataclass(frozen=True, slots=True)
class Alarms:
    """Of one entity at one threshold: false ones, which of its events are caught, and how many rows after their begin; NaN where not."""

    false: int
    caught: Flags
    delay_rows: Array


@dataclass(frozen=True, slots=True)
class Swept:
    """At the best single threshold within a budget: which events of all entities in turn are caught, and how many false alarms that costs."""

    caught: Flags
    false: int


def events(label: Flags) -> Spans:
    edge = np.diff(np.concatenate(([0], label.astype(np.int8), [0])))
    return np.stack((np.flatnonzero(edge == 1), np.flatnonzero(edge == -1)), 1)


def alarm_spans(flags: Flags, step_min: int) -> Spans:
    rows = np.flatnonzero(flags)
    if not len(rows):
        return np.zeros((0, 2), np.intp)
    apart = np.flatnonzero(np.diff(rows) * step_min >= JOIN_MIN)
    first, last = rows[np.concatenate(([0], apart + 1))], rows[np.concatenate((apart, [len(rows) - 1]))] + 1
    again = AGAIN_MIN // step_min
    pieces = -((first - last) // again)
    start = np.repeat(first, pieces) + again * (np.arange(pieces.sum()) - np.repeat(np.cumsum(pieces) - pieces, pieces))
    return np.stack((start, np.minimum(start + again, np.repeat(last, pieces))), 1)


def alarms(flags: Flags, label: Flags, step_min: int) -> Alarms:
    spans, truth = alarm_spans(flags, step_min), events(label)
    until = np.minimum(truth[:, 1] + JOIN_MIN // step_min, len(label))
    covered = np.zeros(len(label), bool)
    for first, end in zip(truth[:, 0], until, strict=True):
        covered[first:end] = True
    touched = np.concatenate(([0], np.cumsum(covered)))
    false = int((touched[spans[:, 1]] == touched[spans[:, 0]]).sum())
    rows = np.flatnonzero(flags)
    first = np.append(rows, len(label))[np.searchsorted(rows, truth[:, 0])]
    caught = first < until
    return Alarms(false, caught, np.where(caught, first - truth[:, 0], np.nan))


def swept(scores: Sequence[Array], labels: Sequence[Flags], step_min: int, budgets: Sequence[float], node_days: float) -> dict[float, Swept]:
    """For each budget of false alarms per node-day."""
    ranked = np.sort(np.concatenate(scores))[::-1]
    at = np.unique(np.geomspace(1, len(ranked) * 0.3, SWEPT).astype(np.intp)) - 1
    best = {budget: Swept(np.zeros(sum(len(events(label)) for label in labels), bool), 0) for budget in budgets}
    for threshold in np.unique(ranked[at]):
        seen = [alarms(score > threshold, label, step_min) for score, label in zip(scores, labels, strict=True)]
        caught, false = np.concatenate([one.caught for one in seen]), sum(one.false for one in seen)
        for budget, most in best.items():
            if false / node_days <= budget and caught.sum() > most.caught.sum():
                best[budget] = Swept(caught, false)
    return best


def poisson_interval(count: int, exposure: float) -> tuple[float, float]:
    """Exact 95 % interval of a rate (Garwood 1936)."""
    low = chi2.ppf(0.025, 2 * count) / 2 if count else 0.0
    return float(low / exposure), float(chi2.ppf(0.975, 2 * count + 2) / 2 / exposure)


def ranking(score: Array, label: Flags) -> tuple[float, float]:
    """(AUROC, AP)."""
    return float(roc_auc_score(label, score)), float(average_precision_score(label, score))


def bootstrap(ours: Flags, theirs: Flags, seed: int, draws: int = 10_000) -> tuple[float, float, float]:
    """(mean, 2.5 %, 97.5 %) of the difference in event recall, events drawn anew in pairs."""
    chance = np.random.default_rng(seed)
    difference = ours.astype(np.float64) - theirs.astype(np.float64)
    means = difference[chance.integers(0, len(difference), (draws, len(difference)))].mean(1)
    return float(difference.mean()), float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


def ap_bootstrap(
    ours: Sequence[Array], theirs: Sequence[Array], labels: Sequence[Flags], seed: int, draws: int = 1000
) -> tuple[float, float, float]:
    """(mean, 2.5 %, 97.5 %) of the difference in AP, the mean over entities, each one's events drawn anew in pairs; its healthy rows stay."""
    chance = np.random.default_rng(seed)
    drawn = np.zeros((draws, len(labels)))
    for entity, label in enumerate(labels):
        spans = events(label)
        of = np.searchsorted(spans[:, 0], np.arange(len(label)), side="right") - 1  # the event that a row is of, where it is of one
        one, other = (_Weighed(scores[entity], label) for scores in (ours, theirs))
        for draw in range(draws):
            times = np.bincount(chance.integers(0, len(spans), len(spans)), minlength=len(spans))
            weight = np.where(label, times[of], 1).astype(np.float64)
            drawn[draw, entity] = one.average_precision(weight) - other.average_precision(weight)
    means = drawn.mean(1)
    return float(means.mean()), float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


class _Weighed:
    """A score whose rows count several times: sorted once, since scikit-learn's own sorts at every call."""

    def __init__(self, score: Array, label: Flags) -> None:
        self._order = np.argsort(-score, kind="stable")
        self._label = label[self._order]
        self._last = np.flatnonzero(np.append(np.diff(score[self._order]) != 0, True))  # rows that score alike are flagged together

    def average_precision(self, weight: Array) -> float:
        ordered = weight[self._order]
        flagged, right = np.cumsum(ordered)[self._last], np.cumsum(ordered * self._label)[self._last]
        return float((np.diff(right, prepend=0) / right[-1] * right / np.maximum(flagged, 1)).sum())


def top_k_share(parts: Array, first: int, last: int, metrics: Sequence[int]) -> float:
    """Share of an event's labelled metrics among the k that carry most over its rows, k as many as are labelled. parts: (rows, metrics)."""
    carried = np.nan_to_num(parts[first : last + 1]).mean(0)
    return len(set(np.argsort(-carried)[: len(metrics)].tolist()) & set(metrics)) / len(metrics)
