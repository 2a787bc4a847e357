"""Jobs: what they ask of their nodes in each minute. Arrays are (nodes,)."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

Shares = NDArray[np.float64]

GAP_MINUTES: Final = (10.0, 60.0)  # between two jobs on the same nodes
LASTS_MINUTES: Final = (600.0, 4000.0)
SHARED: Final = 0.03  # by how much all nodes of a job swing together
OWN: Final = 0.004  # and each by itself


@dataclass(frozen=True, slots=True)
class Kind:
    """`compute` and `memory`: shares of what the cards could do. `waits`: whether each step ends when the slowest node's does."""

    name: str
    utilization: float
    compute: float
    memory: float
    memory_used: float
    host: float  # of the host's cores
    network: float  # of 400 Gbit/s
    checkpoint_minutes: int  # 0: none
    waits: bool = True


KINDS: Final = (
    Kind("dense training", 0.99, 0.85, 0.55, 0.82, 0.10, 0.45, 60),
    Kind("mixture of experts", 0.97, 0.66, 0.60, 0.90, 0.12, 0.70, 45),
    Kind("fine-tuning", 0.95, 0.74, 0.50, 0.60, 0.14, 0.15, 20),
    Kind("inference", 0.70, 0.40, 0.75, 0.88, 0.18, 0.05, 0, waits=False),
    Kind("simulation", 0.85, 0.55, 0.80, 0.35, 0.40, 0.02, 0, waits=False),
)
IDLE: Final = Kind("idle", 0.0, 0.0, 0.0, 0.01, 0.01, 0.0, 0, waits=False)


@dataclass(frozen=True, slots=True)
class Work:
    """Of every node in one minute, as shares. `group` numbers the places, `job` the jobs, -1 where there is none, or more than one; `waits` as of `Kind`."""

    group: NDArray[np.intp]
    job: NDArray[np.intp]
    waits: NDArray[np.bool_]
    utilization: Shares
    compute: Shares
    memory: Shares
    memory_used: Shares
    host: Shares
    network: Shares
    writes: Shares


@dataclass(slots=True)
class _Place:
    """So many nodes for one job after another. Mutable: which they are, what runs there, since when and until when; `job` is -1 between two."""

    nodes: NDArray[np.intp]
    kind: Kind = IDLE
    job: int = -1
    began: int = 0
    ends: int = 0


Change = Callable[[Kind, int], Kind]


class Schedule:
    """Jobs at places of so many nodes, one after another. Mutable; asked minute after minute.

    Each job that begins takes any nodes of those that its place had and of the `spares`, which have no work. Each of the `shared` nodes, the last
    ones, has two jobs of its own at once, and half of each.
    """

    def __init__(self, places: Sequence[int], spares: int, shared: int, chance: np.random.Generator) -> None:
        ends = np.cumsum(places)
        first = int(ends[-1])
        self._spares = np.arange(first, first + spares)
        self._shared = np.arange(first + spares, first + spares + shared)
        taken = [*np.split(np.arange(first), ends[:-1]), *np.repeat(self._shared, 2)[:, None]]
        self._places = [_Place(nodes) for nodes in taken]
        self._chance = chance
        self._swing = np.zeros(len(self._places))
        self._jobs = 0

    def nodes_at(self, place: int) -> NDArray[np.intp]:
        """Which those are now."""
        return self._places[place].nodes

    def at(self, minute: int, changes: Mapping[int, Sequence[Change]]) -> Work:
        """`changes`: what becomes of the jobs at these places in this minute; nothing of it lasts."""
        kinds = [self._kind(place, minute) for place in self._places]
        for place, of_place in changes.items():
            for change in of_place:
                kinds[place] = change(kinds[place], minute)
        self._swing = 0.9 * self._swing + np.sqrt(1 - 0.9**2) * SHARED * self._chance.standard_normal(len(kinds))
        writing = [_writes(kind, minute - place.began) for kind, place in zip(kinds, self._places, strict=True)]
        one, other = self._seats()

        def told(of_places: Iterable[float], elsewhere: float) -> Shares:
            values: Shares = np.array([*of_places, elsewhere])
            both: Shares = 0.5 * (values[one] + values[other])
            return both

        def of(name: str) -> Shares:
            return told((getattr(kind, name) for kind in kinds), getattr(IDLE, name))

        waits = (one == other) & np.array([*(kind.waits for kind in kinds), False])[one]
        swing = np.exp(told(self._swing, 0.0) + OWN * self._chance.standard_normal(len(one)))
        pause = 1.0 - 0.5 * told(writing, 0.0)
        daily = np.where(waits, 1.0, 1.0 + 0.35 * np.sin(2 * np.pi * minute / 1440.0))
        return Work(
            one, self._job(one, other), waits, np.clip(of("utilization") * pause * daily, 0, 1), np.clip(of("compute") * swing * pause * daily, 0, 1),
            np.clip(of("memory") * swing * pause * daily, 0, 1), of("memory_used"), np.clip(of("host") * swing * daily, 0, 1),
            np.clip(of("network") * swing * pause * daily, 0, 1), told(writing, 0.0),
        )

    def _kind(self, place: _Place, minute: int) -> Kind:
        if minute >= place.ends:
            if place.kind is IDLE:
                place.kind, lasts = KINDS[self._chance.integers(len(KINDS))], LASTS_MINUTES
                place.kind = replace(place.kind, compute=place.kind.compute * self._chance.uniform(0.85, 1.1))
                self._move(place)
                place.job, self._jobs = self._jobs, self._jobs + 1
            else:
                place.kind, place.job, lasts = IDLE, -1, GAP_MINUTES
            place.began, place.ends = minute, minute + int(self._chance.uniform(*lasts))
        return place.kind

    def _move(self, place: _Place) -> None:
        """Where nobody is spare, nobody moves, and nothing is taken of the chance."""
        if len(self._spares) and place.nodes[0] not in self._shared:
            free = self._chance.permutation(np.concatenate((place.nodes, self._spares)))
            place.nodes, self._spares = np.sort(free[: len(place.nodes)]), free[len(place.nodes) :]

    def _seats(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """The place of each node, and the other one of a shared node; one more than there are where a node has none."""
        one = np.full(sum(len(place.nodes) for place in self._places) - len(self._shared) + len(self._spares), len(self._places), np.intp)
        for number, place in enumerate(self._places):
            one[place.nodes] = number
        other = one.copy()
        one[self._shared] -= 1
        return one, other

    def _job(self, one: NDArray[np.intp], other: NDArray[np.intp]) -> NDArray[np.intp]:
        jobs = np.array([*(place.job for place in self._places), -1])
        return np.where(one == other, jobs[one], -1)


def _writes(kind: Kind, passed: int) -> float:
    """The share of the minute that goes by writing a checkpoint."""
    return 0.5 if kind.checkpoint_minutes and passed % kind.checkpoint_minutes == kind.checkpoint_minutes - 1 else 0.0
