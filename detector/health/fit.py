"""From recorded minutes to what the detector judges by, node by node."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gpuwarden.detector.health.budget import HISTORY_DAYS, daily, findings, threshold
from gpuwarden.detector.health.conditional import covariance
from gpuwarden.detector.health.features import LEARNED, judged
from gpuwarden.detector.health.learned import Block, Learned, Places, packed, weighed
from gpuwarden.detector.health.past import past
from gpuwarden.detector.health.rolling import WINDOW_DAYS, daily_carried
from gpuwarden.detector.health.scale import Array, floors, scale
from gpuwarden.detector.health.score import held, raw
from gpuwarden.detector.past.block import Past

STEP_S: Final = 60.0
DAY: Final = 1440
LEAST_MINUTES: Final = 2500  # known, of a node: most of two days, one to learn from and one that sets the threshold
LEAST_THRESHOLD: Final = 0.1  # mean square of a node that hardly ever changed


@dataclass(frozen=True, slots=True)
class Fitted:
    """One node. Arrays are (LEARNED,), `covariance` (3V, 3V) of what has varied at this node; NaN and no covariance: never known."""

    node: str
    cards: tuple[str, ...]
    mean: Array
    deviation: Array
    varying: Places  # among LEARNED
    covariance: Block
    threshold: float
    known_minutes: int
    minutes: int  # since it was heard first
    capped_minutes: int
    judged_days: float  # that a model from the days before them has judged
    fired: int  # in these, each with the threshold of the days before


@dataclass(frozen=True, slots=True)
class TooLittle:
    """A node that nothing can be said of yet."""

    node: str
    known_minutes: int


def fitted(made: Past, budget_per_node_day: float, node: int) -> Fitted | TooLittle:
    """Of one node of the past. What our own caps held back is left out."""
    use = judged(made.values[node : node + 1])
    values = np.where(use[..., None], made.values[node : node + 1][..., LEARNED], np.nan).astype(np.float64)
    known = ~np.isnan(values)
    told: NDArray[np.bool_] = np.asarray(known.any(2))[0]
    if told.sum() < LEAST_MINUTES:
        return TooLittle(made.nodes[node], int(told.sum()))
    first = int(told.argmax())
    values = values[:, first:]
    floor = floors(values)
    varying = np.flatnonzero(_vary(values))
    before = past(values[..., varying], STEP_S)
    score = _scores(values, before, varying, floor)
    levels = daily(score, STEP_S, budget_per_node_day)
    above = np.nan_to_num(score) > levels
    recent = score[:, -HISTORY_DAYS * DAY :]
    mean, deviation, together = _window(values, before, varying, floor)
    return Fitted(
        made.nodes[node], made.cards[node], mean, deviation, varying, together, max(threshold(recent, STEP_S, budget_per_node_day), LEAST_THRESHOLD),
        int(told.sum()), values.shape[1], int((~use[0]).sum()), float((np.isfinite(levels) & ~np.isnan(score)).sum() / DAY), findings(above, STEP_S),
    )  # fmt: skip


def _vary(values: Array) -> NDArray[np.bool_]:
    """(features,): which do, of (1, minutes, features)."""
    known = ~np.isnan(values)
    high, low = np.where(known, values, -np.inf).max((0, 1)), np.where(known, values, np.inf).min((0, 1))
    return np.asarray(high > low)


def _scores(values: Array, before: Array, varying: Places, floor: Array) -> Array:
    """(1, minutes), each from a model of the days before it. Constants carry nothing; NaN in the first day and where nothing was told."""
    carried = np.where(np.isnan(values), np.nan, 0.0)
    carried[..., varying] = daily_carried(values[..., varying], before, STEP_S, floor[..., varying])
    carried[:, :DAY] = np.nan
    score = held(raw(carried), STEP_S)
    score[np.isnan(carried).all(2)] = np.nan
    return score


def _window(values: Array, before: Array, varying: Places, floor: Array) -> tuple[Array, Array, Block]:
    """(mean, deviation, covariance) of the newest days."""
    recent = slice(-WINDOW_DAYS * DAY, None)
    own = scale(values[:, recent], floor)
    some = scale(values[:, recent][..., varying], floor[..., varying])
    together = covariance(some.deviations(values[:, recent][..., varying]), some.of_past(before[:, recent]))
    unknown = np.isnan(own.mean[0, 0])
    return own.mean[0, 0], np.where(unknown, np.nan, own.deviation[0, 0]), together[0].astype(np.float32)


def stacked(nodes: Sequence[Fitted]) -> Learned:
    """All of them as one. Features that no node ever told are left out."""
    mean, deviation = (np.stack([getattr(one, name) for one in nodes]).astype(np.float32) for name in ("mean", "deviation"))
    kept = np.flatnonzero(~np.isnan(mean).all(0))
    varying = np.intersect1d(kept, np.concatenate([one.varying for one in nodes]))
    triangles = np.concatenate([packed(_spread_out(one, varying)[None]) for one in nodes])
    weights, spread = weighed(triangles, len(varying))
    levels = np.array([one.threshold for one in nodes], np.float32)
    return Learned(
        tuple(one.node for one in nodes), tuple(one.cards for one in nodes), LEARNED[kept], np.searchsorted(kept, varying),
        mean[:, kept], deviation[:, kept], triangles, weights, spread, levels,
    )  # fmt: skip


def _spread_out(one: Fitted, varying: Places) -> Array:
    """Its covariance among all that vary anywhere: 0 for what does not at this node."""
    width, mine = len(varying), np.isin(one.varying, varying)
    where = np.searchsorted(varying, one.varying[mine])
    there, own = (np.concatenate([places + part * size for part in range(3)]) for places, size in ((where, width), (np.flatnonzero(mine), len(mine))))
    out = np.zeros((3 * width, 3 * width))
    out[np.ix_(there, there)] = one.covariance[np.ix_(own, own)]
    return out
