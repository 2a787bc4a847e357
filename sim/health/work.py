"""Jobs: what they ask of their nodes in each minute. Arrays are (nodes,)."""

from collections.abc import Callable, Mapping, Sequence
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
    """Of every node in one minute, as shares. `group` numbers the jobs; `waits` as of `Kind`."""

    group: NDArray[np.intp]
    waits: NDArray[np.bool_]
    utilization: Shares
    compute: Shares
    memory: Shares
    memory_used: Shares
    host: Shares
    network: Shares
    writes: Shares


@dataclass(slots=True)
class _Slot:
    """Nodes that always run the same job. Mutable: what runs there, since when and until when."""

    kind: Kind = IDLE
    began: int = 0
    ends: int = 0


Change = Callable[[Kind, int], Kind]


class Schedule:
    """Jobs on groups of nodes, one after another. Mutable; asked minute after minute."""

    def __init__(self, nodes: int, nodes_a_job: int, chance: np.random.Generator) -> None:
        self._group = np.arange(nodes) // nodes_a_job
        self._chance = chance
        self._slots = [_Slot() for _ in range(int(self._group.max()) + 1)]
        self._swing = np.zeros(len(self._slots))

    def at(self, minute: int, changes: Mapping[int, Sequence[Change]]) -> Work:
        """`changes`: what becomes of the jobs of these groups in this minute; nothing of it lasts."""
        kinds = [self._kind(slot, minute) for slot in self._slots]
        for group, of_group in changes.items():
            for change in of_group:
                kinds[group] = change(kinds[group], minute)
        self._swing = 0.9 * self._swing + np.sqrt(1 - 0.9**2) * SHARED * self._chance.standard_normal(len(kinds))
        writing = [_writes(kind, minute - slot.began) for kind, slot in zip(kinds, self._slots, strict=True)]

        def of(name: str) -> Shares:
            return np.array([getattr(kind, name) for kind in kinds])[self._group]

        swing = np.exp(self._swing[self._group] + OWN * self._chance.standard_normal(len(self._group)))
        pause = 1.0 - 0.5 * np.array(writing)[self._group]
        daily = np.where(of("waits"), 1.0, 1.0 + 0.35 * np.sin(2 * np.pi * minute / 1440.0))
        return Work(
            self._group, of("waits").astype(bool), np.clip(of("utilization") * pause * daily, 0, 1), np.clip(of("compute") * swing * pause * daily, 0, 1),
            np.clip(of("memory") * swing * pause * daily, 0, 1), of("memory_used"), np.clip(of("host") * swing * daily, 0, 1),
            np.clip(of("network") * swing * pause * daily, 0, 1), np.array(writing)[self._group],
        )

    def _kind(self, slot: _Slot, minute: int) -> Kind:
        if minute >= slot.ends:
            if slot.kind is IDLE:
                slot.kind, lasts = KINDS[self._chance.integers(len(KINDS))], LASTS_MINUTES
                slot.kind = replace(slot.kind, compute=slot.kind.compute * self._chance.uniform(0.85, 1.1))
            else:
                slot.kind, lasts = IDLE, GAP_MINUTES
            slot.began, slot.ends = minute, minute + int(self._chance.uniform(*lasts))
        return slot.kind


def _writes(kind: Kind, passed: int) -> float:
    """The share of the minute that goes by writing a checkpoint."""
    return 0.5 if kind.checkpoint_minutes and passed % kind.checkpoint_minutes == kind.checkpoint_minutes - 1 else 0.0
