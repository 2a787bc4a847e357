"""How a job's ranks stand in groups, and what of it is slow. Ranks are counted tensor first, then stages, then copies, as Megatron does."""

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

CARDS: Final = 8  # of a host
KINDS: Final = ("slow_gpu", "slow_host", "slow_nic", "slow_fabric")


@dataclass(frozen=True)
class Shape:
    """`expert`: copies that hold the experts of a layer between them, 1: none; a divisor of `data`."""

    tensor: int
    pipeline: int
    data: int
    microbatches: int = 4
    expert: int = 1

    @property
    def ranks(self) -> int:
        return self.tensor * self.pipeline * self.data

    @property
    def hosts(self) -> int:
        return -(-self.ranks // CARDS)

    def rank(self, data: int, stage: int, tensor: int) -> int:
        return (data * self.pipeline + stage) * self.tensor + tensor

    @cached_property
    def grid(self) -> NDArray[np.int64]:
        """Ranks by (data, stage, tensor)."""
        return np.arange(self.ranks).reshape(self.data, self.pipeline, self.tensor)


@dataclass(frozen=True, slots=True)
class Fault:
    """`slow_gpu`: the arithmetic of rank `at` takes so much longer; `slow_host`: of all ranks on host `at`; `slow_nic`: all that goes over host `at`'s
    network; `slow_fabric`: over everybody's."""

    kind: str
    at: int
    strength: float

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind: is {self.kind!r}, should be one of {', '.join(KINDS)}")

    def ranks(self, shape: Shape) -> frozenset[int]:
        """Whom it is the fault of: a card's own rank, or all ranks of its host; nobody's where the fabric is slow."""
        if self.kind == "slow_fabric":
            return frozenset()
        return frozenset({self.at}) if self.kind == "slow_gpu" else frozenset(range(CARDS * self.at, min(CARDS * self.at + CARDS, shape.ranks)))
