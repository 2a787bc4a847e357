"""The rows of bench/anomaly.py: each gives scores of a whole entity, train then test, every row from earlier rows alone."""

from collections.abc import Callable
from typing import Final

import numpy as np
from anomaly_sets import Array, Entity
from sklearn.ensemble import IsolationForest

from gpuwarden.detector.health.borghesi import borghesi
from gpuwarden.detector.health.rolling import WINDOW_DAYS, Scored, scored
from gpuwarden.detector.health.scale import floors, scale
from gpuwarden.detector.health.score import held, smoothed

SMOOTH_MIN: Final = 10
KEPT_VARIANCE: Final = 0.9
LEAST_RESIDUAL: Final = 1e-2
FOREST: Final = 100  # trees

Fit = Callable[[Array], Callable[[Array], Array]]  # a window of deviations to a score of deviations, (rows, metrics) to (rows,)
Row = Callable[[Entity, int, int], Array]  # entity, minutes from row to row, seed


def random(entity: Entity, step_min: int, seed: int) -> Array:
    return np.random.default_rng(seed).random(len(entity.train) + len(entity.test))


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


def static(fit: Fit) -> Row:
    def score(entity: Entity, step_min: int, seed: int) -> Array:
        train, floor = entity.train[None], floors(entity.train[None])
        own = scale(train, floor)
        values = np.concatenate((entity.train, entity.test))[None]
        return ten_minutes(fit(own.deviations(train)[0])(own.deviations(values)[0]), step_min)

    return score


def refit_squares(fit: Fit) -> Callable[[Entity, int], Array]:
    def score(entity: Entity, step_min: int) -> Array:
        values, floor = np.concatenate((entity.train, entity.test))[None], floors(entity.train[None])
        day, out = 1440 // step_min, np.zeros(values.shape[1])
        for start in range(day, len(out), day):
            window = values[:, max(0, start - WINDOW_DAYS * day) : start]
            own = scale(window, floor)
            out[start : start + day] = fit(own.deviations(window)[0])(own.deviations(values[:, start : start + day])[0])
        return out

    return score


def refit(fit: Fit) -> Row:
    return lambda entity, step_min, seed: ten_minutes(refit_squares(fit)(entity, step_min), step_min)


def refit_held(fit: Fit) -> Row:
    """The baseline after our own smoothing: what is left between the two is the model's."""
    return lambda entity, step_min, seed: held(refit_squares(fit)(entity, step_min)[None], step_min * 60.0)[0]


def forest(entity: Entity, step_min: int, seed: int) -> Array:
    model = IsolationForest(n_estimators=FOREST, random_state=seed).fit(entity.train)
    return ten_minutes(-model.score_samples(np.concatenate((entity.train, entity.test))), step_min)


def paper(entity: Entity, step_min: int, seed: int) -> Array:
    return ten_minutes(borghesi(entity.train, seed).score(np.concatenate((entity.train, entity.test))), step_min)


def ours(entity: Entity, step_min: int) -> Scored:
    values = np.concatenate((entity.train, entity.test))[None]
    return scored(values, step_min * 60.0, floors(entity.train[None]))


def gpuwarden(entity: Entity, step_min: int, seed: int) -> Array:
    return ours(entity, step_min).score[0]


def ten_minutes(score: Array, step_min: int) -> Array:
    return smoothed(score[None], max(1, SMOOTH_MIN // step_min))[0]


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
    ("borghesi", paper, True),
    ("gpuwarden", gpuwarden, False),
)
REFIT: Final = ("mean_z2_refit", "pca_refit")
