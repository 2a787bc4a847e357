"""Steps of a job with tensor, pipeline, data and expert parallel groups. Arrays are (data, pipeline, tensor), seconds.

A collective begins for each rank when it comes, and ends for all when the last has come and the data have gone round; a message likewise for its two.
Forward and backward passes of all microbatches through all stages, then the gradients' reduction over the copies.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gpuwarden.core.nccl.inspector import Done
from gpuwarden.sim.comm.block import Block, Seconds, lines
from gpuwarden.sim.comm.shape import CARDS, Fault, Shape

LAYER_S: Final = 2.0e-3  # of arithmetic between two reductions over the tensor group
TENSOR_S, EXPERT_S, MESSAGE_S, DATA_S = 0.3e-3, 0.5e-3, 0.4e-3, 8.0e-3
TENSOR_BYTES, EXPERT_BYTES, MESSAGE_BYTES, DATA_BYTES = 16 << 20, 8 << 20, 32 << 20, 512 << 20
LAYERS: Final = 2  # of a stage
JITTER: Final = 0.02  # of arithmetic, from one time to the next
CARD_JITTER: Final = 0.004  # of one card beside another, always
NETWORK_JITTER: Final = 0.05
HICCUP_SHARE, HICCUP = 0.002, 2.0  # now and then something takes three times as long
TAKES_S: Final = 1.0  # from one dump to the next


@dataclass
class Job:
    """Mutable: the time each rank has come to. `messages`: whether Inspector tells of them, as since NCCL 2.30.3. `pace`: all takes so many times longer, as with
    more layers, each as uneven as these."""

    shape: Shape
    faults: Sequence[Fault]
    seed: int
    messages: bool = False
    pace: float = 1.0
    _now_s: Seconds = field(init=False)

    def __post_init__(self) -> None:
        self._chance = np.random.default_rng(self.seed)
        self._now_s = np.zeros(self.shape.grid.shape)
        self._host = self.shape.grid // CARDS
        self._slower = np.exp(CARD_JITTER * self._chance.standard_normal(self._now_s.shape))
        for fault in self.faults:
            if fault.kind in ("slow_gpu", "slow_host"):
                hit = (self.shape.grid if fault.kind == "slow_gpu" else self._host) == fault.at
                self._slower = np.where(hit, self._slower * (1.0 + fault.strength), self._slower)
        self._paths = dict[tuple[str, int, int], Seconds]()

    @property
    def lasted_s(self) -> float:
        return self.pace * float(self._now_s.max())

    def run(self, steps: int) -> Iterator[Done]:
        """All ranks' operations, as lines tell of them."""
        return lines(self.blocks(steps))

    def blocks(self, steps: int) -> Iterator[Block]:
        """The first is one of all ranks together, by which they are known."""
        world = self.shape.grid.reshape(1, -1)
        yield self._block("AllReduce", 8192, ("world",), world, np.full(world.shape, 1e-4))
        for _ in range(steps):
            for order in (range(self.shape.pipeline), range(self.shape.pipeline - 1, -1, -1)):
                for _ in range(self.shape.microbatches):
                    yield from self._pass(list(order))
            yield from self._gradients()

    def _pass(self, order: Sequence[int]) -> Iterator[Block]:
        for place, stage in enumerate(order):
            if place:
                yield from self._message(order[place - 1], stage)
            for _ in range(LAYERS):
                self._now_s[:, stage] += LAYER_S * self._slower[:, stage] * self._jitter(JITTER, self._now_s[:, stage].shape)
                if self.shape.tensor > 1:
                    yield self._tensor(stage)
            if self.shape.expert > 1:
                yield self._experts(stage)

    def _tensor(self, stage: int) -> Block:
        ranks, came_s = self.shape.grid[:, stage], self._now_s[:, stage].copy()
        ends_s = came_s.max(axis=1) + TENSOR_S * self._jitter(NETWORK_JITTER, (self.shape.data,)) * self._path("t", stage, 0)
        self._now_s[:, stage] = ends_s[:, None]
        names = tuple(f"t{data}.{stage}" for data in range(self.shape.data))
        return self._block("AllReduce", TENSOR_BYTES, names, ranks, ends_s[:, None] - came_s)

    def _experts(self, stage: int) -> Block:
        """Copies that are neighbours exchange, for each place of a tensor group by itself."""
        members = self._experts_of(self.shape.grid, stage)
        came_s = self._experts_of(self._now_s, stage).copy()
        ends_s = came_s.max(axis=1) + EXPERT_S * self._jitter(NETWORK_JITTER, (len(came_s),)) * self._path("e", stage, 0)
        self._now_s[:, stage] = np.repeat(ends_s.reshape(self._split()), self.shape.expert, axis=0)
        names = tuple(f"e{block}.{stage}.{tensor}" for block, tensor in np.ndindex(self._split()))
        return self._block("AllToAll", EXPERT_BYTES, names, members, ends_s[:, None] - came_s)

    def _split(self) -> tuple[int, int]:
        return self.shape.data // self.shape.expert, self.shape.tensor

    def _experts_of(self, grid: NDArray[Any], stage: int) -> NDArray[Any]:
        blocks = grid[:, stage].reshape(-1, self.shape.expert, self.shape.tensor)
        return np.moveaxis(blocks, 1, -1).reshape(-1, self.shape.expert)

    def _gradients(self) -> Iterator[Block]:
        if self.shape.data == 1:
            return
        for stage in range(self.shape.pipeline):
            came_s = self._now_s[:, stage].T.copy()
            ends_s = came_s.max(axis=1) + DATA_S * self._jitter(NETWORK_JITTER, (self.shape.tensor,)) * self._path("d", stage, 0)
            self._now_s[:, stage] = ends_s
            names = tuple(f"d{stage}.{tensor}" for tensor in range(self.shape.tensor))
            yield self._block("ReduceScatter", DATA_BYTES, names, self.shape.grid[:, stage].T, ends_s[:, None] - came_s)

    def _message(self, source: int, target: int) -> Iterator[Block]:
        sent_s, came_s = self._now_s[:, source].copy(), self._now_s[:, target].copy()
        ends_s = np.maximum(sent_s, came_s) + MESSAGE_S * self._jitter(NETWORK_JITTER, sent_s.shape) * self._path("p", source, target)
        self._now_s[:, target] = ends_s  # who sends goes on at once
        if self.messages:
            names = tuple(f"p{data}.{tensor}" for data, tensor in np.ndindex(sent_s.shape))
            for name, of, other, since_s in (("Send", source, target, sent_s), ("Recv", target, source, came_s)):
                took_s = (ends_s - since_s).reshape(-1, 1)
                yield self._block(name, MESSAGE_BYTES, names, self.shape.grid[:, of].reshape(-1, 1), took_s, of, other)

    def _path(self, what: str, stage: int, other: int) -> Seconds:
        """How much longer than usual it takes over the hosts of each group."""
        if (known := self._paths.get((what, stage, other))) is None:
            mine = self._host[:, stage]
            both = np.stack([mine, self._host[:, other]], axis=-1)
            hosts = {"t": mine, "d": mine.T, "p": both, "e": self._experts_of(self._host, stage)}[what]
            known = self._paths[what, stage, other] = self._slowed(hosts)
        return known

    def _slowed(self, hosts: NDArray[np.int64]) -> Seconds:
        over = (hosts != hosts[..., :1]).any(axis=-1)
        slower = np.ones(over.shape)
        for fault in self.faults:
            if fault.kind in ("slow_nic", "slow_fabric"):
                hit = (hosts == fault.at).any(axis=-1) if fault.kind == "slow_nic" else True
                slower = np.where(over & hit, slower * (1.0 + fault.strength), slower)
        return slower

    def _jitter(self, share: float, shape: tuple[int, ...]) -> Seconds:
        hiccup = np.where(self._chance.random(shape) < HICCUP_SHARE, 1.0 + HICCUP, 1.0)
        return np.exp(share * self._chance.standard_normal(shape)) * hiccup

    def _block(
        self, name: str, size_bytes: int, groups: tuple[str, ...], ranks: NDArray[np.int64], took_s: Seconds, place: int | None = None, peer: int | None = None
    ) -> Block:
        """Whole microseconds, as the library writes them."""
        size = self.shape.pipeline if place is not None else ranks.shape[1]
        dumped_s = TAKES_S * np.ceil(self.lasted_s / TAKES_S)
        return Block(name, size_bytes, groups, size, ranks, np.rint(1e6 * self.pace * took_s), round(1e6 * dumped_s), place, peer)
