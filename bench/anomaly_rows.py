"""The rows of bench/anomaly.py: each gives scores of a whole entity, train then test, every row from earlier rows alone."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
from anomaly_sets import Array, Entity
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import NearestNeighbors

from gpuwarden.detector.health.borghesi import borghesi
from gpuwarden.detector.health.past import past
from gpuwarden.detector.health.rolling import Scored, days, scored, taught
from gpuwarden.detector.health.scale import floors, scale
from gpuwarden.detector.health.score import held, raw, smoothed

SMOOTH_MIN: Final = 10
KEPT_VARIANCE: Final = 0.9
LEAST_RESIDUAL: Final = 1e-2
FOREST: Final = 100  # trees
NEIGHBOURS: Final = 5


@dataclass(frozen=True, slots=True)
class Run:
    """Scores (rows,): as they are judged, and as they were before they were smoothed. Seconds that fits and scores took."""

    score: Array
    raw: Array
    fit_s: float
    score_s: float


Fit = Callable[[Array], Callable[[Array], Array]]  # a window of deviations to a score of deviations, (rows, metrics) to (rows,)
Row = Callable[[Entity, int, int], Run]  # entity, minutes from row to row, seed
Made = TypeVar("Made")


def timed(make: Callable[[], Made]) -> tuple[Made, float]:
    began_s = time.perf_counter()
    made = make()
    return made, time.perf_counter() - began_s


def random(entity: Entity, step_min: int, seed: int) -> Run:
    score, score_s = timed(lambda: np.random.default_rng(seed).random(len(entity.train) + len(entity.test)))
    return Run(score, score, 0.0, score_s)


def mean_square(_: Array) -> Callable[[Array], Array]:
    return lambda rows: (rows**2).mean(1)


def pca_residual(window: Array) -> Callable[[Array], Array]:
    """Mean squared residual outside the components that hold 90 % of the variance, each over its own size in the window."""
    values, vectors = np.linalg.eigh(window.T @ window / len(window))
    kept = int(np.searchsorted(np.cumsum(values[::-1]) / values.sum(), KEPT_VARIANCE)) + 1
    basis = vectors[:, ::-1][:, :kept]

    def residual(rows: Array) -> Array:
        return rows - rows @ basis @ basis.T

    size = np.maximum(np.sqrt((residual(window) ** 2).mean(0)), LEAST_RESIDUAL)
    return lambda rows: ((residual(rows) / size) ** 2).mean(1)


def neighbours(window: Array) -> Callable[[Array], Array]:
    """Distance to the fifth of the nearest (Ramaswamy et al., SIGMOD 2000)."""
    near = NearestNeighbors(n_neighbors=NEIGHBOURS, algorithm="brute").fit(window)
    return lambda rows: np.asarray(near.kneighbors(rows)[0][:, -1], np.float64)


def static(fit: Fit) -> Row:
    def run(entity: Entity, step_min: int, seed: int) -> Run:
        train, floor = entity.train[None], floors(entity.train[None])
        own = scale(train, floor)
        model, fit_s = timed(lambda: fit(own.deviations(train)[0]))
        values = np.concatenate((entity.train, entity.test))[None]
        return ten_minutes(lambda: model(own.deviations(values)[0]), step_min, fit_s)

    return run


def squares_refit(fit: Fit, entity: Entity, step_min: int) -> tuple[Array, float, float]:
    """(scores, seconds of the fits, and of the scores)."""
    values, floor = np.concatenate((entity.train, entity.test))[None], floors(entity.train[None])
    out, fit_s, score_s = np.zeros(values.shape[1]), 0.0, 0.0
    for learned, day in days(values.shape[1], step_min * 60.0):
        own = scale(values[:, learned], floor)
        model, one_s = timed(lambda window=values[:, learned], own=own: fit(own.deviations(window)[0]))
        out[day], other_s = timed(lambda day=day, own=own, model=model: model(own.deviations(values[:, day])[0]))
        fit_s, score_s = fit_s + one_s, score_s + other_s
    return out, fit_s, score_s


def refit(fit: Fit) -> Row:
    def run(entity: Entity, step_min: int, seed: int) -> Run:
        squares, fit_s, score_s = squares_refit(fit, entity, step_min)
        made = ten_minutes(lambda: squares, step_min, fit_s)
        return Run(made.score, squares, fit_s, score_s + made.score_s)

    return run


def refit_held(fit: Fit) -> Row:
    """The baseline after our own smoothing: what is left between the two is the model's."""

    def run(entity: Entity, step_min: int, seed: int) -> Run:
        squares, fit_s, score_s = squares_refit(fit, entity, step_min)
        score, held_s = timed(lambda: held(squares[None], step_min * 60.0)[0])
        return Run(score, squares, fit_s, score_s + held_s)

    return run


def forest(entity: Entity, step_min: int, seed: int) -> Run:
    model, fit_s = timed(lambda: IsolationForest(n_estimators=FOREST, random_state=seed).fit(entity.train))
    return ten_minutes(lambda: -model.score_samples(np.concatenate((entity.train, entity.test))), step_min, fit_s)


def paper(entity: Entity, step_min: int, seed: int) -> Run:
    model, fit_s = timed(lambda: borghesi(entity.train, seed))
    return ten_minutes(lambda: model.score(np.concatenate((entity.train, entity.test))), step_min, fit_s)


def ours(entity: Entity, step_min: int) -> Scored:
    values = np.concatenate((entity.train, entity.test))[None]
    return scored(values, step_min * 60.0, floors(entity.train[None]))


def gpuwarden(entity: Entity, step_min: int, seed: int) -> Run:
    """Fits are timed apart from the run, which does them again."""
    values, step_s = np.concatenate((entity.train, entity.test))[None], step_min * 60.0
    before, floor = past(values, step_s), floors(entity.train[None])
    _, fit_s = timed(lambda: [taught(values[:, learned], before[:, learned], floor) for learned, _ in days(values.shape[1], step_s)])
    made, all_s = timed(lambda: ours(entity, step_min))
    return Run(made.score[0], raw(made.carried)[0], fit_s, max(0.0, all_s - fit_s))


def ten_minutes(score: Callable[[], Array], step_min: int, fit_s: float) -> Run:
    squares, score_s = timed(score)
    smooth, smooth_s = timed(lambda: smoothed(squares[None], max(1, SMOOTH_MIN // step_min))[0])
    return Run(smooth, squares, fit_s, score_s + smooth_s)


# Name, row, whether chance plays a part.
ROWS: Final[tuple[tuple[str, Row, bool], ...]] = (
    ("random", random, True),
    ("mean_z2", static(mean_square), False),
    ("mean_z2_refit", refit(mean_square), False),
    ("mean_z2_refit_held", refit_held(mean_square), False),
    ("pca", static(pca_residual), False),
    ("pca_refit", refit(pca_residual), False),
    ("pca_refit_held", refit_held(pca_residual), False),
    ("isolation_forest", forest, True),
    ("knn", static(neighbours), False),
    ("borghesi", paper, True),
    ("gpuwarden", gpuwarden, False),
)
REFIT: Final = ("mean_z2_refit", "pca_refit")
