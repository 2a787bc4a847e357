"""What one model says of the nodes, minute after minute: smoothed, held, and with a threshold that each node has of its own."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gpuwarden.detector.health.budget import JOIN_S
from gpuwarden.detector.health.judge import Judge, Minute
from gpuwarden.detector.health.learned import Block, Places
from gpuwarden.detector.health.score import HALF_LIFE_S, SMOOTH_S
from gpuwarden.detector.past.piece import Integers

STEP_S: Final = 60.0
SMOOTHED: Final = round(SMOOTH_S / STEP_S)
KEEP: Final = 0.5 ** (STEP_S / HALF_LIFE_S)
WARM_MINUTES: Final = SMOOTHED  # a node that was just heard for the first time is not judged by a single minute
QUIET_MINUTES: Final = round(JOIN_S / STEP_S)  # what comes back sooner counts as the same in the budget
NOT_KNOWN: Final = -1

Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Turn:
    """Of the rows of a minute which begin to fire and which are over, and which could be judged."""

    fires: Flags
    ends: Flags
    judged: Flags
    waits: Flags  # for weights that do without what they lack
    minute: Minute


class Verdict:
    """Arrays (rows,) of the rows that are watched; `of` gives each one's place in the model, NOT_KNOWN if it has none."""

    def __init__(self, judge: Judge, of: Places) -> None:
        self.judge, self.of = judge, of
        rows = len(of)
        self.recent = np.full((rows, SMOOTHED), np.nan)
        self.score = np.zeros(rows)
        self.lived: Integers = np.zeros(rows, np.int64)  # minutes that told something
        self.quiet: Integers = np.zeros(rows, np.int64)
        self.firing = np.zeros(rows, np.bool_)

    def forget(self, rows: Places) -> None:
        """Their past; what fires goes on."""
        self.recent[rows], self.score[rows], self.lived[rows], self.quiet[rows] = np.nan, 0.0, 0, 0

    def take_over(self, rows: Places, other: "Verdict", others: Places) -> None:
        """What another model had said of the same nodes goes on."""
        for mine, theirs in zip(self._state, other._state, strict=True):
            mine[rows] = theirs[others]

    @property
    def _state(self) -> tuple[NDArray[np.generic], ...]:
        return self.recent, self.score, self.lived, self.quiet, self.firing

    def minute(self, rows: Places, values: Block, before: Block, passed: Integers) -> Turn:
        """One of each of `rows`, which the model knows: values (rows, K), before (rows, 2, K); `passed` minutes since the one before."""
        made = self.judge.minute(self.of[rows], values, before)
        told = ~np.isnan(made.parts)
        raw = np.where(told, made.parts, 0).sum(1) / np.maximum(told.sum(1), 1)
        raw[~told.any(1) | made.unweighed | np.isnan(before[:, 0]).all(1)] = np.nan
        self.lived[rows] += ~np.isnan(raw)
        score = self._held(rows, raw, passed)
        judged = ~np.isnan(raw) & (self.lived[rows] >= WARM_MINUTES)
        above = score > self.judge.learned.threshold[self.of[rows]]
        was = self.firing[rows]
        self.quiet[rows] = np.where(judged, np.where(above, 0, self.quiet[rows] + 1), self.quiet[rows])
        fires, ends = judged & above & ~was, judged & was & (self.quiet[rows] >= QUIET_MINUTES)
        self.firing[rows] = (was | fires) & ~ends
        return Turn(fires, ends, judged, made.unweighed, made)

    def _held(self, rows: Places, raw: NDArray[np.float64], passed: Integers) -> NDArray[np.float64]:
        """As health.score.held does it for a whole history."""
        place = np.arange(SMOOTHED) + np.minimum(passed, SMOOTHED)[:, None]
        recent = np.pad(self.recent[rows], ((0, 0), (0, SMOOTHED)), constant_values=np.nan)
        recent = np.take_along_axis(recent, place, 1)
        recent[:, -1] = raw
        self.recent[rows] = recent
        known = ~np.isnan(recent)
        count = known.sum(1)
        smooth = np.where(count > 0, np.where(known, recent, 0).sum(1) / np.maximum(count, 1), np.nan)
        held = np.fmax(self.score[rows] * KEEP**passed, smooth)
        self.score[rows] = np.where(self.lived[rows] < WARM_MINUTES, 0.0, held)
        return np.asarray(self.score[rows])
