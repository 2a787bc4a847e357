"""Loads: what the cards of a row want, second by second, and when their agents look."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Final, Protocol

import numpy as np

from gpuwarden.sim.plant import IDLE_W, Watts

GPUS: Final = 8
TRAINING, SERVING = 4, 3  # nodes of the simulated row; the rest waits for jobs
HOST_W: Final = 2300.0


class Load(Protocol):
    """`host_w` (nodes,): the part that no limit reaches. `demands_w` (nodes, GPUs) is asked with growing times."""

    nodes: tuple[str, ...]
    gpus: int
    host_w: Watts

    def demands_w(self, now_s: float) -> Watts: ...

    def samples(self) -> Iterator[tuple[float, int]]:
        """(time, node) of every pass of an agent over its node, in order of time."""
        ...


@dataclass(frozen=True, slots=True)
class Mishap:
    """Something that a driver tells of a card. `node` and `gpu` are numbers."""

    time_s: float
    node: int
    gpu: int
    kind: str
    code: int
    message: str


# What a new user should see soon: a memory error that asks for a reset, and later a card that falls off its bus.
MISHAPS: Final = (
    Mishap(40.0, 5, 3, "xid", 63, "XID 63 on GPU 3: row remapping event"),
    Mishap(100.0, 2, 6, "xid", 79, "XID 79 on GPU 6: GPU has fallen off the bus"),
)


class ChangingLoad:
    """Eight nodes: one training job with checkpoints, three that serve with ups and downs, one with short jobs."""

    def __init__(self, chance: np.random.Generator) -> None:
        self.nodes = tuple(f"node-{number}" for number in range(1, TRAINING + SERVING + 2))
        self.gpus = GPUS
        self.host_w: Watts = np.full(len(self.nodes), HOST_W)
        self._chance = chance
        self._spread = chance.normal(1.0, 0.01, (len(self.nodes), GPUS))
        self._bursts = np.zeros(SERVING)
        self._jobs_until_s = 0.0
        self._second = -1

    def demands_w(self, now_s: float) -> Watts:
        if int(now_s) != self._second:
            self._second = int(now_s)
            self._roll(now_s)
        training_w = 180.0 if now_s % 90.0 < 6.0 else 660.0 - 60.0 * (now_s % 4.0 < 0.5)  # checkpoint; all-reduce
        serving_w = 330.0 + 150.0 * np.sin(now_s / 40.0 + np.arange(SERVING)) + 220.0 * self._bursts
        rest_w = 620.0 if now_s < self._jobs_until_s else IDLE_W + 20.0
        each_w = np.concatenate([np.full(TRAINING, training_w), serving_w, np.full(len(self.nodes) - TRAINING - SERVING, rest_w)])
        demands_w: Watts = np.clip(each_w[:, None] * self._spread, IDLE_W, 700.0)
        return demands_w

    def _roll(self, now_s: float) -> None:
        self._bursts = np.where(self._chance.random(SERVING) < 0.1, self._chance.random(SERVING), self._bursts * 0.7)
        if now_s >= self._jobs_until_s and self._chance.random() < 0.02:
            self._jobs_until_s = now_s + float(self._chance.uniform(20.0, 60.0))

    def samples(self) -> Iterator[tuple[float, int]]:
        """Every node once a second, at a phase of its own."""
        for second in count():
            for node in range(len(self.nodes)):
                yield second + node / len(self.nodes), node
