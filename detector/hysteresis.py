"""When a signal fires and when it is over, for many devices and signals at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gpuwarden.detector.node import Slots
from gpuwarden.detector.view import Values

LONGEST_STEP_S: Final = 10.0  # a gap counts as this much quiet at most


@dataclass(frozen=True, slots=True)
class Patience:
    """Fires when `bad` of the last `of` samples are; is over when none was for `quiet_s`. `of` is 32 at most."""

    bad: int
    of: int
    quiet_s: float


@dataclass(frozen=True, slots=True)
class Turns:
    """(row, signal) pairs of what has just begun to fire and of what is just over."""

    fires: NDArray[np.intp]
    ends: NDArray[np.intp]


class Hysteresis:
    """(rows, signals): the last samples as bits, how long it is quiet, whether it fires."""

    def __init__(self, rows: int, patience: Sequence[Patience]) -> None:
        self._bad = np.array([p.bad for p in patience], np.uint8)
        self._mask = np.array([(1 << p.of) - 1 for p in patience], np.uint32)
        self._enough_s = np.array([p.quiet_s for p in patience], np.float32)
        self._past = np.zeros((rows, len(patience)), np.uint32)
        self._quiet_s = np.zeros((rows, len(patience)), np.float32)
        self._firing = np.zeros((rows, len(patience)), np.bool_)

    @property
    def rows(self) -> int:
        return len(self._past)

    def grow(self, rows: int) -> None:
        more = ((0, rows - len(self._past)), (0, 0))
        self._past, self._quiet_s, self._firing = np.pad(self._past, more), np.pad(self._quiet_s, more), np.pad(self._firing, more)

    def clear(self, slot: int) -> None:
        self._past[slot], self._quiet_s[slot], self._firing[slot] = 0, 0, False

    def turn(self, slots: Slots, scores: Values, elapsed_s: Values) -> Turns:
        """Takes (rows, signals) scores: above 0 is bad, 0 is good, NaN is unknown: nothing fires or ends."""
        bad, known = scores > 0, ~np.isnan(scores)
        past = self._past[slots]
        past = np.where(known, (past << np.uint32(1)) | bad, past) & self._mask
        step_s = np.nan_to_num(elapsed_s).clip(0, LONGEST_STEP_S)[:, None]
        quiet_s = np.where(bad, np.float32(0), self._quiet_s[slots] + step_s)
        was = self._firing[slots]
        fires = ~was & bad & (np.bitwise_count(past) >= self._bad)
        ends = was & known & ~bad & (quiet_s >= self._enough_s)
        self._past[slots], self._quiet_s[slots], self._firing[slots] = past, quiet_s, (was | fires) & ~ends
        return Turns(np.argwhere(fires), np.argwhere(ends))
