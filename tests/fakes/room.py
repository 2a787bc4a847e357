"""A simulated room as history, and as the telemetry that its agents would send."""

from collections.abc import Iterator

import numpy as np

from gpuwarden.detector.health.features import COLUMN_OF
from gpuwarden.detector.past.block import LeftOut, Past
from gpuwarden.detector.past.features import CARDS, FEATURES
from gpuwarden.detector.past.piece import MINUTE_NS
from gpuwarden.proto.catalogue import BY_NAME, Device, Kind
from gpuwarden.proto.decode import Matrix
from gpuwarden.proto.encode import encode, encode_block
from gpuwarden.proto.telemetry_pb2 import GpuProcess
from gpuwarden.sim.health.ward import Told

FIRST = 28_333_440  # a minute in November 2023, on the hour
IDS = [f"GPU-{card}" for card in range(CARDS)]
SECONDS = (10, 50)  # of a minute, when agents read


def name(node: int) -> str:
    return f"node-{node}"


def job_of(told: Told, node: int, minute: int) -> str:
    """Empty if it has none of its own."""
    return f"job-{told.job[node, minute]}" if told.job[node, minute] >= 0 else ""


def block(told: Told) -> Matrix:
    """(nodes, minutes, FEATURES)."""
    values = np.full((*told.values.shape[:2], len(FEATURES)), np.nan, np.float32)
    values[..., [COLUMN_OF[column] for column in told.columns]] = told.values
    return values


def past(told: Told, until: int) -> Past:
    """Its first minutes."""
    values = block(told)[:, :until]
    nodes = tuple(map(name, range(len(values))))
    return Past(nodes, np.arange(FIRST, FIRST + until), values, LeftOut(), (tuple(IDS),) * len(values))


class Agent:
    """Tells minutes of a node, its counters from 0 on. What is in `without` it does not read."""

    def __init__(self, told: Told, node: int, start: str = "a", first: int = FIRST) -> None:
        self._told, self._node, self.start, self.sequence, self._first = told, node, start, 0, first
        places = {column: place for place, column in enumerate(told.columns)}
        gpus = sorted({column.partition("[")[0] for column in places if column.endswith("]")})
        self._hosts = [column for column in places if not column.endswith("]")]
        self._gpus = gpus
        self._place = np.array([[places[f"{metric}[{card}]"] for metric in gpus] for card in range(CARDS)])
        self._host_place = np.array([places[metric] for metric in self._hosts])
        self._total = np.zeros(len(told.columns))
        self._counts = np.array([BY_NAME[column.partition("[")[0]].kind is Kind.COUNTER for column in told.columns])

    def minutes(self, first: int, end: int, without: frozenset[str] = frozenset()) -> Iterator[bytes]:
        for minute in range(first, end):
            rate = np.where(self._counts, self._told.values[self._node, minute], 0.0).astype(np.float64)
            for before, second in zip((0, *SECONDS), SECONDS, strict=False):
                self._total += rate * (second - before)
                yield self._record(minute, second, without)
            self._total += rate * (60 - SECONDS[-1])

    def _record(self, minute: int, second: int, without: frozenset[str]) -> bytes:
        self.sequence += 1
        now = np.where(self._counts, self._total, self._told.values[self._node, minute])
        blocks = [
            _block(Device.GPU, IDS, self._gpus, now[self._place], without),
            _block(Device.HOST, [name(self._node)], self._hosts, now[self._host_place][None], without),
        ]
        runs = [GpuProcess(gpu_id=IDS[0], pid=7, job_id=job)] if (job := job_of(self._told, self._node, minute)) else []
        return encode(name(self._node), self.start, self.sequence, (self._first + minute) * MINUTE_NS + second * 10**9, blocks, runs)


def _block(device: Device, ids: list[str], metrics: list[str], rows: np.ndarray, without: frozenset[str]) -> object:
    kept = [i for i, metric in enumerate(metrics) if metric not in without]
    return encode_block(device, ids, [BY_NAME[metrics[i]] for i in kept], rows[:, kept].tolist())
