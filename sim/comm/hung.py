"""A job that runs until nobody gets on, since some of its ranks stopped.

Each rank asks for its operations in order, up to some that are not done; an operation is done once all have asked for it and it is each one's oldest.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from gpuwarden.sim.comm.programs import Asks, Group, programs
from gpuwarden.sim.comm.shape import Shape

AHEAD: Final = 4
STUCK_OUTSIDE, STUCK_DEVICE, DEAD_PROCESS = "stuck_process", "stuck_gpu", "dead_process"
HANGS: Final = (STUCK_OUTSIDE, STUCK_DEVICE, DEAD_PROCESS)


@dataclass(frozen=True, slots=True)
class Hang:
    """From its `at`-th operation on, a rank's process asks for nothing more, or is gone; or does not learn that anything is done (`stuck_gpu`), and so asks
    for nothing beyond what it asks for ahead: as recorded of jobs into which such faults were injected."""

    kind: str
    rank: int
    at: int

    def __post_init__(self) -> None:
        if self.kind not in HANGS:
            raise ValueError(f"kind: is {self.kind!r}, should be one of {', '.join(HANGS)}")


@dataclass
class HungJob:
    """Mutable while it runs, which it does at once. `asked` and `done` by rank."""

    shape: Shape
    hangs: tuple[Hang, ...]
    steps: int = 3
    asked: list[int] = field(init=False)
    done: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.programs = programs(self.shape, self.steps)
        self.asked, self.done = [0] * self.shape.ranks, [0] * self.shape.ranks
        self._stops = {hang.rank: hang.at for hang in self.hangs if hang.kind != STUCK_DEVICE}
        self._told_up_to = {hang.rank: hang.at for hang in self.hangs if hang.kind == STUCK_DEVICE}
        self._run()

    def _run(self) -> None:
        here = dict[tuple[int, int, int, int], list[int]]()
        line, came = deque(range(self.shape.ranks)), [-1] * self.shape.ranks
        while line:
            rank = line.popleft()
            self._ask(rank)
            if came[rank] == self.done[rank] or self.done[rank] >= self.asked[rank]:
                continue
            came[rank] = self.done[rank]
            asks = self.programs[rank][self.done[rank]]
            key = _key(rank, asks)
            met = here.setdefault(key, [])
            met.append(rank)
            if len(met) == (len(asks.group.ranks) if asks.peer is None else 2):
                for one in here.pop(key):
                    self.done[one] += 1
                    line.append(one)

    def _ask(self, rank: int) -> None:
        program = self.programs[rank]
        self.asked[rank] = max(self.asked[rank], min(len(program), self.told(rank) + AHEAD, self._stops.get(rank, len(program))))

    def told(self, rank: int) -> int:
        """How many of its operations the rank knows to be done."""
        return min(self.done[rank], self._told_up_to.get(rank, self.done[rank]))

    @property
    def reached(self) -> list[Hang]:
        """Those that came to bear: others had no time to, since the job hung before."""
        return [hang for hang in self.hangs if self.done[hang.rank] < len(self.programs[hang.rank]) and self._bears(hang)]

    def _bears(self, hang: Hang) -> bool:
        return self.told(hang.rank) < self.done[hang.rank] if hang.kind == STUCK_DEVICE else self.asked[hang.rank] == hang.at

    @property
    def dead(self) -> frozenset[int]:
        """Ranks whose process is gone."""
        return frozenset(hang.rank for hang in self.reached if hang.kind == DEAD_PROCESS)

    def groups(self, rank: int) -> list[Group]:
        """All that the rank is of, in order of description."""
        return sorted({asks.group for asks in self.programs[rank]}, key=lambda group: group.desc)


def _key(rank: int, asks: Asks) -> tuple[int, int, int, int]:
    """The same for all that meet in an operation."""
    if asks.peer is None:
        return id(asks.group), asks.number, -1, -1
    pair = (rank, asks.peer) if asks.name == "send" else (asks.peer, rank)
    return 0, asks.number, *pair
