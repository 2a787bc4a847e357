"""A room of nodes over days: what they told, minute by minute, and what was truly wrong."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gpuwarden.sim.health.body import CARDS, Bodies, Values, sound
from gpuwarden.sim.health.changes import OF_JOBS, OF_NODES, OfJob
from gpuwarden.sim.health.faults import FAULTS
from gpuwarden.sim.health.work import Schedule

Matrix = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Bout:
    """A fault of node `at`, or a change of the job at place `at`, from minute `first` up to `end`."""

    what: str
    at: int
    first: int
    end: int
    strength: float = 1.0

    def __post_init__(self) -> None:
        if self.what not in {*FAULTS, *OF_JOBS, *OF_NODES}:
            raise ValueError(f"what: is {self.what!r}, should be one of {', '.join((*FAULTS, *OF_JOBS, *OF_NODES))}")


@dataclass(frozen=True, slots=True)
class Room:
    """`places`: of how many nodes each is, at which one job runs after another; `spares` and `shared` nodes as of `Schedule`."""

    places: tuple[int, ...]
    seed: int
    spares: int = 0
    shared: int = 0

    @property
    def nodes(self) -> int:
        return sum(self.places) + self.spares + self.shared


@dataclass(frozen=True, slots=True)
class Minute:
    """`values` (nodes, columns), `job` (nodes,) as of `Work`, `ill` (nodes,)."""

    columns: tuple[str, ...]
    values: Matrix
    job: NDArray[np.intp]
    ill: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Told:
    """`values` (nodes, minutes, columns) of the metrics named in `columns` ("metric[card]" or "metric"); `job` and `ill` (nodes, minutes)."""

    columns: tuple[str, ...]
    values: Matrix
    job: NDArray[np.intp]
    ill: NDArray[np.bool_]


class Ward:
    """A room that lives on. Mutable; a deep copy goes on as if the other one were not there."""

    def __init__(self, room: Room) -> None:
        self._schedule = Schedule(room.places, room.spares, room.shared, np.random.default_rng([room.seed, 1]))
        self._bodies = Bodies(room.nodes, room.seed)
        self._nodes, self._minute = room.nodes, 0

    def nodes_at(self, place: int) -> NDArray[np.intp]:
        """Of the last minute."""
        return self._schedule.nodes_at(place)

    def minute(self, bouts: Sequence[Bout]) -> Minute:
        """The next one. What is amiss with one job changes no number of another's."""
        minute, self._minute = self._minute, self._minute + 1
        struck = [bout for bout in bouts if bout.first <= minute < bout.end]
        changes = dict[int, list[OfJob]]()
        for bout in struck:
            if bout.what in OF_JOBS:
                changes.setdefault(bout.at, []).append(OF_JOBS[bout.what])
        work = self._schedule.at(minute, changes)
        now, ill = sound(self._nodes), np.zeros(self._nodes, bool)
        for bout in struck:
            if bout.what in FAULTS:
                FAULTS[bout.what](now, bout.at, bout.strength, (minute - bout.first) / (bout.end - bout.first))
                ill[bout.at] = True
            elif bout.what in OF_NODES:
                OF_NODES[bout.what](now, self.nodes_at(bout.at).tolist())
        means = self._bodies.minute(minute, work, now)
        return Minute(tuple(name for metric, of in means.items() for name in _names(metric, of.ndim)), _row(means), work.job, ill)


def told(room: Room, minutes: int, bouts: Sequence[Bout]) -> Told:
    """A second of a core for some 15,000 node-minutes, more of many nodes."""
    ward = Ward(room)
    of = [ward.minute(bouts) for _ in range(minutes)]
    return Told(of[0].columns, *(np.stack([getattr(one, name) for one in of], axis=1) for name in ("values", "job", "ill")))


def _row(means: dict[str, Values]) -> Matrix:
    return np.concatenate([of.reshape(len(of), -1) for of in means.values()], axis=1).astype(np.float32)


def _names(metric: str, dimensions: int) -> Sequence[str]:
    return [f"{metric}[{card}]" for card in range(CARDS)] if dimensions == 2 else [metric]
