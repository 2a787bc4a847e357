"""How far a device is from its own ordinary behaviour: median and MAD over the last hour, in means of one minute.

Raw load (power, utilisation, traffic) is no feature: it changes whenever a job does. A card is compared with the busy cards of its
own node under the same limit, which cancels the job, and only how that difference *changes* counts. The floor of a feature is
the least that is taken as one deviation, so that constants and rounding never fire.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gpuwarden.detector.findings import Claim, subject_of
from gpuwarden.detector.hysteresis import Patience
from gpuwarden.detector.models.median import Block
from gpuwarden.detector.models.model import Flags
from gpuwarden.detector.node import Slots
from gpuwarden.detector.robust import NORMAL, median
from gpuwarden.detector.rules.rule import INFO
from gpuwarden.detector.view import Values, View
from gpuwarden.proto.catalogue import Device
from gpuwarden.proto.finding_pb2 import Evidence

MINUTE_S: Final = 60.0
KEPT_MINUTES: Final = 64
LEAST_MINUTES: Final = 30
LIMIT: Final = 5.0  # robust deviations; with normal errors 6e-7, but errors are not normal, hence the patience below
PATIENCE: Final = Patience(bad=4, of=4, quiet_s=600.0)


@dataclass(frozen=True, slots=True)
class Feature:
    name: str
    unit: str
    floor: float


@dataclass(frozen=True, slots=True)
class Features:
    """`read` takes (rows, readings) from a view; `settle` turns their means of a minute, of some members, into (rows, features)."""

    device: Device
    kind: str
    sentence: str
    readings: int
    read: Callable[[View], Block]
    settle: Callable[[Block, Slots], Block]
    features: tuple[Feature, ...]


class Deviation:
    """Bounded: KEPT_MINUTES x features x 4 bytes a row, and a few more."""

    def __init__(self, features: Features, rows: int) -> None:
        self.kind, self.patience = features.kind, PATIENCE
        self._features = features
        self._floor = np.array([f.floor for f in features.features], np.float32)
        width = len(features.features)
        self._sum = np.zeros((rows, features.readings), np.float64)
        self._count = np.zeros((rows, features.readings), np.float64)
        self._time_s: NDArray[np.float32] = np.zeros(rows, np.float32)
        self._past: Block = np.full((rows, KEPT_MINUTES, width), np.nan, np.float32)
        self._next: NDArray[np.intp] = np.zeros(rows, np.intp)
        self._newest: Block = np.full((rows, 3, width), np.nan, np.float32)  # value, median, deviations

    def grow(self, rows: int) -> None:
        more = rows - len(self._next)
        self._sum, self._count = (np.pad(a, ((0, more), (0, 0))) for a in (self._sum, self._count))
        self._time_s, self._next = np.pad(self._time_s, (0, more)), np.pad(self._next, (0, more))
        self._past, self._newest = (
            np.pad(a, ((0, more), (0, 0), (0, 0)), constant_values=np.nan) for a in (self._past, self._newest)
        )

    def clear(self, slot: int) -> None:
        self._start_minute(np.array([slot]))
        self._past[slot], self._newest[slot], self._next[slot] = np.nan, np.nan, 0

    def score(self, view: View, healthy: Flags) -> Values:
        read, slots = self._features.read(view), view.slots
        known = ~np.isnan(read)
        self._sum[slots] += np.where(known, read, 0)
        self._count[slots] += known
        self._time_s[slots] += np.nan_to_num(view.elapsed_s).clip(0, MINUTE_S)
        scores = np.full(len(slots), np.nan, np.float32)
        over = self._time_s[slots] >= MINUTE_S
        if over.any():
            scores[over] = self._minute(slots[over], view.members[over], healthy[over])
        return scores

    def _minute(self, slots: Slots, members: Slots, healthy: Flags) -> Values:
        """One is over for these rows: score it against the past, then it belongs to the past."""
        count = self._count[slots]
        means = np.where(count > 0, self._sum[slots] / np.maximum(count, 1), np.nan).astype(np.float32)
        value = self._features.settle(means, members)
        self._start_minute(slots)
        past = self._past[slots]
        middle = median(past, 1)
        spread = np.float32(NORMAL) * median(np.abs(past - middle[:, None]), 1)
        deviations = np.asarray((value - middle) / np.maximum(spread, self._floor), np.float32)
        deviations[(~np.isnan(past)).sum(1) < LEAST_MINUTES] = np.nan
        self._newest[slots] = np.stack((value, middle, deviations), 1)
        self._learn(slots[healthy], value[healthy])
        return _worst(deviations)

    def _start_minute(self, slots: Slots) -> None:
        self._sum[slots], self._count[slots], self._time_s[slots] = 0, 0, 0

    def _learn(self, slots: Slots, value: Block) -> None:
        """A minute that says nothing, such as an idle one, takes no place."""
        told = ~np.isnan(value).all(1)
        slots, value = slots[told], value[told]
        self._past[slots, self._next[slots]] = value
        self._next[slots] = (self._next[slots] + 1) % KEPT_MINUTES

    def claim(self, view: View, row: int, score: float, node: str, device_id: str) -> Claim:
        value, middle, deviations = self._newest[view.slots[row]]
        worst = [i for i in np.argsort(-np.abs(deviations)) if abs(deviations[i]) > LIMIT]
        evidence = [
            Evidence(name=f.name, value=float(value[i]), expected=float(middle[i]), unit=f.unit)
            for i in worst
            for f in (self._features.features[i],)
        ]
        shown = ", ".join(f"{e.name} {e.value:.3g} {e.unit}".rstrip() + f", was {e.expected:.3g}" for e in evidence)
        return Claim(
            self.kind, subject_of(self._features.device, node, device_id), INFO, score, f"{self._features.sentence}: {shown}",
            "Look at it beside its neighbours; by itself this is no reason to act.", "models/deviation", tuple(evidence),
        )


def _worst(deviations: Block) -> Values:
    """Of each row, in multiples of LIMIT; 0 below it, NaN where nothing can be said."""
    known = ~np.isnan(deviations).all(1)
    worst = np.max(np.nan_to_num(np.abs(deviations)), axis=1, initial=0) / np.float32(LIMIT)
    return np.where(known, np.where(worst > 1, worst, np.float32(0)), np.float32(np.nan))
