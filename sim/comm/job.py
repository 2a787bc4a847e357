"""Steps of a job with tensor, pipeline and data parallel groups. Arrays are (data, pipeline, tensor), seconds.

A collective begins for each rank when it comes, and ends for all when the last has come and the data have gone round; a message likewise for its two.
Forward and backward passes of all microbatches through all stages, then the gradients' reduction over the copies.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gpuwarden.detector.comm.inspector import Done
from gpuwarden.detector.comm.process import Process

Seconds = NDArray[np.float64]

CARDS: Final = 8  # of a host
LAYER_S: Final = 2.0e-3  # of arithmetic between two reductions over the tensor group
TENSOR_S, MESSAGE_S, DATA_S = 0.3e-3, 0.4e-3, 8.0e-3
TENSOR_BYTES, MESSAGE_BYTES, DATA_BYTES = 16 << 20, 32 << 20, 512 << 20
LAYERS: Final = 2  # of a stage
JITTER: Final = 0.02  # of arithmetic, from one time to the next
CARD_JITTER: Final = 0.004  # of one card beside another, always
NETWORK_JITTER: Final = 0.05
HICCUP_SHARE, HICCUP = 0.002, 2.0  # now and then something takes three times as long
TAKES_S: Final = 1.0  # from one dump to the next


@dataclass(frozen=True, slots=True)
class Shape:
    tensor: int
    pipeline: int
    data: int
    microbatches: int = 4

    @property
    def ranks(self) -> int:
        return self.tensor * self.pipeline * self.data

    def rank(self, data: int, stage: int, tensor: int) -> int:
        return (data * self.pipeline + stage) * self.tensor + tensor


@dataclass(frozen=True, slots=True)
class Fault:
    """`slow_gpu`: the arithmetic of rank `at` takes so much longer; `slow_host`: of all ranks on host `at`; `slow_nic`: all that goes over host `at`'s
    network; `slow_fabric`: over everybody's."""

    kind: str
    at: int
    strength: float

    def __post_init__(self) -> None:
        if self.kind not in ("slow_gpu", "slow_host", "slow_nic", "slow_fabric"):
            raise ValueError(f"kind: is {self.kind!r}, should be slow_gpu, slow_host, slow_nic or slow_fabric")


@dataclass
class Job:
    """Mutable: the time each rank has come to. `messages`: whether Inspector tells of them, as since NCCL 2.30.3."""

    shape: Shape
    faults: Sequence[Fault]
    seed: int
    messages: bool = False
    _now_s: Seconds = field(init=False)

    def __post_init__(self) -> None:
        shape = self.shape
        self._chance = np.random.default_rng(self.seed)
        self._now_s = np.zeros((shape.data, shape.pipeline, shape.tensor))
        self._rank = np.arange(shape.ranks).reshape(self._now_s.shape)
        self._host = self._rank // CARDS
        self._slower = np.exp(CARD_JITTER * self._chance.standard_normal(self._now_s.shape))
        for fault in self.faults:
            hit = (self._rank == fault.at) if fault.kind == "slow_gpu" else (self._host == fault.at) if fault.kind == "slow_host" else np.zeros_like(self._rank, bool)
            self._slower = np.where(hit, self._slower * (1.0 + fault.strength), self._slower)
        self._numbers = dict[str, int]()

    def run(self, steps: int) -> Iterator[Done]:
        """All ranks' operations; the first is one of all of them together, by which they are known."""
        for rank in range(self.shape.ranks):
            yield self._one("world", "AllReduce", 8192, rank, rank, 1e-4, self.shape.ranks, None)
        for _ in range(steps):
            for order in (range(self.shape.pipeline), range(self.shape.pipeline - 1, -1, -1)):
                for _ in range(self.shape.microbatches):
                    yield from self._pass(list(order))
            yield from self._gradients()

    def _pass(self, order: Sequence[int]) -> Iterator[Done]:
        for place, stage in enumerate(order):
            if place:
                yield from self._message(order[place - 1], stage)
            for _ in range(LAYERS):
                self._now_s[:, stage] += LAYER_S * self._slower[:, stage] * self._jitter(JITTER, self._now_s[:, stage].shape)
                if self.shape.tensor > 1:
                    yield from self._tensor(stage)

    def _tensor(self, stage: int) -> Iterator[Done]:
        came_s = self._now_s[:, stage].copy()
        ends_s = came_s.max(axis=1) + TENSOR_S * self._jitter(NETWORK_JITTER, (self.shape.data,)) * self._path(self._host[:, stage])
        self._now_s[:, stage] = ends_s[:, None]
        for data in range(self.shape.data):
            yield from self._told(f"t{data}.{stage}", "AllReduce", TENSOR_BYTES, self._rank[data, stage], ends_s[data] - came_s[data])

    def _gradients(self) -> Iterator[Done]:
        if self.shape.data == 1:
            return
        came_s = self._now_s.copy()
        ends_s = came_s.max(axis=0) + DATA_S * self._jitter(NETWORK_JITTER, came_s.shape[1:]) * self._path(np.moveaxis(self._host, 0, -1))
        self._now_s[:] = ends_s[None]
        for stage in range(self.shape.pipeline):
            for tensor in range(self.shape.tensor):
                took_s = ends_s[stage, tensor] - came_s[:, stage, tensor]
                yield from self._told(f"d{stage}.{tensor}", "ReduceScatter", DATA_BYTES, self._rank[:, stage, tensor], took_s)

    def _message(self, source: int, target: int) -> Iterator[Done]:
        sent_s, came_s = self._now_s[:, source].copy(), self._now_s[:, target].copy()
        path = self._path(np.stack([self._host[:, source], self._host[:, target]], axis=-1))
        ends_s = np.maximum(sent_s, came_s) + MESSAGE_S * self._jitter(NETWORK_JITTER, sent_s.shape) * path
        self._now_s[:, target] = ends_s  # who sends goes on at once
        if self.messages:
            for data, tensor in np.ndindex(sent_s.shape):
                group, pair = f"p{data}.{tensor}", (self.shape.rank(data, source, tensor), self.shape.rank(data, target, tensor))
                end_s, stages = float(ends_s[data, tensor]), self.shape.pipeline
                yield self._one(group, "Send", MESSAGE_BYTES, source, pair[0], end_s - float(sent_s[data, tensor]), stages, target)
                yield self._one(group, "Recv", MESSAGE_BYTES, target, pair[1], end_s - float(came_s[data, tensor]), stages, source)

    def _path(self, hosts: NDArray[np.int64]) -> Seconds:
        """How much longer it takes than usual, from the hosts along the last axis."""
        over = (hosts != hosts[..., :1]).any(axis=-1)
        slower = np.ones(over.shape)
        for fault in self.faults:
            if fault.kind == "slow_nic":
                slower = np.where(over & (hosts == fault.at).any(axis=-1), slower * (1.0 + fault.strength), slower)
            elif fault.kind == "slow_fabric":
                slower = np.where(over, slower * (1.0 + fault.strength), slower)
        return slower

    def _jitter(self, share: float, shape: tuple[int, ...]) -> Seconds:
        hiccup = np.where(self._chance.random(shape) < HICCUP_SHARE, 1.0 + HICCUP, 1.0)
        return np.exp(share * self._chance.standard_normal(shape)) * hiccup

    def _told(self, group: str, name: str, size_bytes: int, ranks: NDArray[np.int64], took_s: Seconds) -> Iterator[Done]:
        for place, (rank, seconds) in enumerate(zip(ranks.tolist(), took_s.tolist(), strict=True)):
            yield self._one(group, name, size_bytes, place, rank, seconds, len(ranks), None)
        self._numbers[group] = self._numbers.get(group, 0) + 1

    def _one(self, group: str, name: str, size_bytes: int, place: int, rank: int, took_s: float, ranks: int, peer: int | None) -> Done:
        process = Process(f"host{rank // CARDS}", 4000 + rank)
        dumped_s = TAKES_S * np.ceil(float(self._now_s.max()) / TAKES_S)
        return Done(group, place, ranks, process, name, self._numbers.get(group, 0), size_bytes, 1e6 * took_s, peer, round(1e6 * dumped_s))
