"""A row as it was: what each node drew, at even times."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gpuwarden.sim.powerlog import PowerLog

Powers = NDArray[np.float32]

LEAST_STEP_S: Final = 2.0  # control that reads ten times a second sees less of a change than this step shows
LONGEST_STEP_S: Final = 60.0
RISE_S: Final = 40.0
TOGETHER_RATIO: Final = 2.0


class TooLittle(ValueError):
    """The recording cannot answer: what it lacks."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """`power_w` is (nodes, times), W, without gaps: a node's reading holds until its next one. `capped_ratio`: share of card time under our caps."""

    nodes: tuple[str, ...]
    step_s: float
    power_w: Powers
    capped_ratio: float = 0.0

    @property
    def duration_s(self) -> float:
        return self.step_s * int(self.power_w.shape[1])

    def peak_w(self) -> float:
        return float(self.power_w.sum(axis=0).max())

    def synchrony(self) -> float:
        """Variance of the row's rises over RISE_S, by the sum of its nodes' variances: 1 where nodes rise independently, their number where all rise together."""
        steps = max(1, round(RISE_S / self.step_s))
        rises = self.power_w[:, steps:].astype(np.float64) - self.power_w[:, :-steps]
        alone = float(rises.var(axis=1).sum())
        return float(rises.sum(axis=0).var()) / alone if alone > 0 else 1.0

    @property
    def swings_together(self) -> bool:
        return self.synchrony() > TOGETHER_RATIO


def evenly(nodes: tuple[str, ...], index: NDArray[np.int64], time_s: NDArray[np.float64], power_w: NDArray[np.float64], capped_ratio: float = 0.0) -> Recorded:
    """From rows in order of time: node `index[i]` drew `power_w[i]` from `time_s[i]` on. TooLittle where no two times are there."""
    if len(time_s) < 2 or not time_s[-1] > time_s[0]:
        raise TooLittle("holds readings of one moment only")
    step_s = _step_s(index, time_s)
    at = time_s[0] + step_s * np.arange(1, 1 + int((time_s[-1] - time_s[0]) / step_s))
    if not len(at):
        raise TooLittle(f"is shorter than the {step_s:g} s between its readings")
    held = np.empty((len(nodes), len(at)), np.float32)
    for node in range(len(nodes)):
        own = np.flatnonzero(index == node)
        held[node] = power_w[own][np.maximum(np.searchsorted(time_s[own], at, side="right") - 1, 0)]
    return Recorded(nodes, step_s, held, capped_ratio)


def of_log(log: PowerLog) -> Recorded:
    return evenly(log.nodes, log.index, log.time_s, log.power_w)


def _step_s(index: NDArray[np.int64], time_s: NDArray[np.float64]) -> float:
    """The usual time between two readings of a node."""
    order = np.lexsort((time_s, index))
    between = np.diff(time_s[order])[np.diff(index[order]) == 0]
    usual_s = float(np.median(between)) if len(between) else LEAST_STEP_S
    if usual_s > LONGEST_STEP_S:
        raise TooLittle(f"has a reading of a node every {usual_s:g} s; swings are seen where there is one every {LONGEST_STEP_S:g} s or oftener")
    return max(LEAST_STEP_S, usual_s)
