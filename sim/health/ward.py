"""A room of nodes over days: what they told, minute by minute, and what was truly wrong."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gpuwarden.sim.health.body import CARDS, Bodies, Condition, Values, sound
from gpuwarden.sim.health.changes import OF_JOBS, OF_NODES, OfJob
from gpuwarden.sim.health.faults import FAULTS
from gpuwarden.sim.health.work import Schedule

Matrix = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Bout:
    """A fault of node `at`, or a change of job `at`, from minute `first` up to `end`."""

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
    """`nodes` in jobs of `nodes_a_job`."""

    nodes: int
    nodes_a_job: int
    seed: int


@dataclass(frozen=True, slots=True)
class Told:
    """`values` (nodes, minutes, columns) of the metrics named in `columns` ("metric[card]" or "metric"); `ill` (nodes, minutes)."""

    columns: tuple[str, ...]
    values: Matrix
    ill: NDArray[np.bool_]


def told(room: Room, minutes: int, bouts: Sequence[Bout]) -> Told:
    """A second of a core for some 15,000 node-minutes. What is amiss with one job changes no number of another's."""
    schedule, bodies = Schedule(room.nodes, room.nodes_a_job, np.random.default_rng([room.seed, 1])), Bodies(room.nodes, room.seed)
    group = np.arange(room.nodes) // room.nodes_a_job
    ill, of_minutes = np.zeros((room.nodes, minutes), bool), list[dict[str, Values]]()
    for minute in range(minutes):
        now, changes = sound(room.nodes), dict[int, list[OfJob]]()
        for bout in bouts:
            if bout.first <= minute < bout.end:
                _strike(bout, minute, now, changes, group, ill)
        of_minutes.append(bodies.minute(minute, schedule.at(minute, changes), now))
    columns = tuple(name for metric, of in of_minutes[0].items() for name in _names(metric, of.ndim))
    values = np.stack([_row(means) for means in of_minutes], axis=1)
    return Told(columns, values, ill)


def _strike(bout: Bout, minute: int, now: Condition, changes: dict[int, list[OfJob]], group: NDArray[np.intp], ill: NDArray[np.bool_]) -> None:
    if bout.what in FAULTS:
        FAULTS[bout.what](now, bout.at, bout.strength, (minute - bout.first) / (bout.end - bout.first))
        ill[bout.at, minute] = True
    elif bout.what in OF_JOBS:
        changes.setdefault(bout.at, []).append(OF_JOBS[bout.what])
    else:
        OF_NODES[bout.what](now, np.flatnonzero(group == bout.at).tolist())


def _row(means: dict[str, Values]) -> Matrix:
    return np.concatenate([of.reshape(len(of), -1) for of in means.values()], axis=1).astype(np.float32)


def _names(metric: str, dimensions: int) -> Sequence[str]:
    return [f"{metric}[{card}]" for card in range(CARDS)] if dimensions == 2 else [metric]
