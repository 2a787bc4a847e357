"""A simulated room that is watched from its first minute, and what becomes of it from one minute on, again and again, each time with something else amiss."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gpuwarden.detector.health.fused import Judged, Reason, judged, no_health_known, why
from gpuwarden.detector.health.readings import Reader
from gpuwarden.detector.health.scale import Array
from gpuwarden.sim.health.ward import Bout, Minute, Room, Ward

Matrix = NDArray[np.float32]
EXPLAINED = 2


@dataclass(frozen=True, slots=True)
class Watched:
    """`values` (nodes, minutes, columns), `rate` (nodes, minutes) and `rates` (nodes, minutes, members) as of `Judged`; `job` (nodes, minutes)."""

    values: Matrix
    job: NDArray[np.intp]
    rate: Array
    rates: Array


@dataclass(frozen=True, slots=True)
class Branch:
    """What came of `bouts`; `nodes` are those that each is of, `reasons` those of the first minute of a finding, None where there is none."""

    watched: Watched
    nodes: tuple[tuple[int, ...], ...]
    reasons: tuple[tuple[Reason, ...] | None, ...]


class Watch:
    """Mutable: a room, and what has been learned of it."""

    def __init__(self, room: Room) -> None:
        self.ward, self._health = Ward(room), no_health_known(room.nodes)
        self._reader: Reader | None = None
        self._kept = list[tuple[Matrix, NDArray[np.intp], Array, Array]]()
        self.columns: tuple[str, ...] = ()

    def minute(self, bouts: Sequence[Bout]) -> tuple[Minute, Judged]:
        minute = self.ward.minute(bouts)
        if self._reader is None:
            self.columns, self._reader = minute.columns, Reader(minute.columns)
        seen = judged(self._health, self._reader.read(minute.values), minute.job)
        self._kept.append((minute.values, minute.job, seen.rate, seen.rates))
        return minute, seen

    def watched(self) -> Watched:
        """All minutes so far, which are then forgotten."""
        values, job, rate, rates = (np.stack(one, 1) for one in zip(*self._kept, strict=True))
        self._kept.clear()
        return Watched(values, job, rate, rates)


class Place:
    """Lives `minutes` when it is made. `branch` leaves it as it is."""

    def __init__(self, room: Room, minutes: int) -> None:
        self.room, self._watch = room, Watch(room)
        for _ in range(minutes):
            self._watch.minute([])
        self.before = self._watch.watched()
        self.columns = self._watch.columns

    def at(self, place: int) -> tuple[int, ...]:
        """The nodes there, in the last minute."""
        return tuple(self._watch.ward.nodes_at(place).tolist())

    def branch(self, bouts: Sequence[Bout], nodes: Sequence[tuple[int, ...]], minutes: int, budget: float) -> Branch:
        """`nodes`: those of each bout."""
        watch, reasons = copy.deepcopy(self._watch), list[tuple[Reason, ...] | None]([None] * len(bouts))
        for _ in range(minutes):
            minute, seen = watch.minute(bouts)
            for at, of in enumerate(nodes):
                worst = min(of, key=lambda node: float(np.nan_to_num(seen.rate[node], nan=np.inf)))
                if reasons[at] is None and seen.rate[worst] < budget:
                    reasons[at] = tuple(why(seen, minute.job, worst, EXPLAINED))
        return Branch(watch.watched(), tuple(nodes), tuple(reasons))
