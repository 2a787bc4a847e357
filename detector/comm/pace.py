"""What a running job's collectives took, side by side over the ranks that did them together: the newest few of each kind.

Of operations that are under way together, such as all buckets of a step's gradients, the first stands for all: each of them holds the same waiting, and the time from one to the
next would be a part of the step.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from gpuwarden.core.nccl.inspector import Done
from gpuwarden.core.nccl.process import Process
from gpuwarden.detector.comm.timings import Kind, Timings
from gpuwarden.proto.comm_pb2 import CommOperations

WINDOW: Final = 24  # operations of a kind: a rank that is slow now has to be so in half of them
MOST_KINDS: Final = 64
MOST_NUMBERS: Final = 1024  # of a kind
MOST_CELLS: Final = 100_000  # numbers times ranks
ALIKE: Final[Mapping[str, str]] = {
    "all_reduce": "AllReduce", "allreduce_coalesced": "AllReduce", "all_gather": "AllGather", "_all_gather_base": "AllGather",
    "reduce_scatter": "ReduceScatter", "_reduce_scatter_base": "ReduceScatter",
}  # fmt: skip
"""NCCL's names for PyTorch's, of operations in which all ranks do the same."""


@dataclass(slots=True)
class Rows:
    """Operations of a kind by number, and in each what it took and when it was done, by rank."""

    _by_number: dict[int, dict[int, tuple[float, float]]] = field(default_factory=dict)

    def take(self, number: int, rank: int, took_us: float, done_us: float) -> None:
        row = self._by_number.setdefault(number, {})
        row[rank] = took_us, done_us
        if len(self._by_number) > max(2 * WINDOW, min(MOST_NUMBERS, MOST_CELLS // len(row))):
            del self._by_number[min(self._by_number)]

    def apart(self) -> list[tuple[int, dict[int, tuple[float, float]]]]:
        """The newest WINDOW of those that every rank asked for after the one before was done."""
        kept = list[tuple[int, dict[int, tuple[float, float]]]]()
        for number, row in sorted(self._by_number.items()):
            before = kept[-1][1] if kept else {}
            if not any(rank in before and done_us - took_us < before[rank][1] for rank, (took_us, done_us) in row.items()):
                kept.append((number, row))
        return kept[-WINDOW:]


@dataclass(slots=True)
class Pace:
    """`fresh`: something came since `timings` was last asked for."""

    fresh: bool = False
    _kinds: dict[Kind, Rows] = field(default_factory=dict)

    def take(self, rank: int, operation: CommOperations, done_s: float) -> None:
        name = ALIKE.get(operation.operation)
        if name is None:
            return
        kind = Kind(operation.group, name, operation.size_bucket_bytes)
        if kind not in self._kinds and len(self._kinds) >= MOST_KINDS:
            del self._kinds[next(iter(self._kinds))]
        self._kinds.setdefault(kind, Rows()).take(operation.last_sequence, rank, 1e6 * operation.time_max_s, 1e6 * done_s)
        self.fresh = True

    def timings(self, processes: Mapping[int, Process]) -> Timings:
        """Of the processes that are there now."""
        self.fresh = False
        timings = Timings()
        timings.take(self._lines(processes))
        return timings

    def _lines(self, processes: Mapping[int, Process]) -> Iterator[Done]:
        for kind, rows in self._kinds.items():
            for number, by_rank in rows.apart():
                for rank, (took_us, done_us) in by_rank.items():
                    if rank in processes:
                        yield Done(kind.communicator, rank, len(processes), processes[rank], kind.name, number, kind.size_bytes, took_us, None, int(done_us))
