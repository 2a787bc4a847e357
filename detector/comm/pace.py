"""What a running job's collectives took, side by side over the ranks that did them together: the newest few of each kind."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from gpuwarden.detector.comm.inspector import Done
from gpuwarden.detector.comm.process import Process
from gpuwarden.detector.comm.timings import Kind, Timings
from gpuwarden.proto.comm_pb2 import CommOperations

WINDOW: Final = 24  # operations of a kind: a rank that is slow now has to be so in half of them
MOST_KINDS: Final = 64
ALIKE: Final[Mapping[str, str]] = {
    "all_reduce": "AllReduce", "allreduce_coalesced": "AllReduce", "all_gather": "AllGather", "_all_gather_base": "AllGather",
    "reduce_scatter": "ReduceScatter", "_reduce_scatter_base": "ReduceScatter",
}  # fmt: skip
"""NCCL's names for PyTorch's, of operations in which all ranks do the same."""


@dataclass(slots=True)
class Pace:
    """`fresh`: something came since `timings` was last asked for."""

    fresh: bool = False
    _kinds: dict[Kind, dict[int, dict[int, tuple[float, float]]]] = field(default_factory=dict)

    def take(self, rank: int, operation: CommOperations, done_s: float) -> None:
        name = ALIKE.get(operation.operation)
        if name is None:
            return
        kind = Kind(operation.group, name, operation.size_bucket_bytes)
        if kind not in self._kinds and len(self._kinds) >= MOST_KINDS:
            del self._kinds[next(iter(self._kinds))]
        rows = self._kinds.setdefault(kind, {})
        rows.setdefault(operation.last_sequence, {})[rank] = 1e6 * operation.time_max_s, 1e6 * done_s
        if len(rows) > WINDOW:
            del rows[min(rows)]
        self.fresh = True

    def timings(self, processes: Mapping[int, Process]) -> Timings:
        """Of the processes that are there now."""
        self.fresh = False
        timings = Timings()
        timings.take(self._lines(processes))
        return timings

    def _lines(self, processes: Mapping[int, Process]) -> Iterator[Done]:
        for kind, rows in self._kinds.items():
            for number, by_rank in rows.items():
                for rank, (took_us, done_us) in by_rank.items():
                    if rank in processes:
                        yield Done(kind.communicator, rank, len(processes), processes[rank], kind.name, number, kind.size_bytes, took_us, None, int(done_us))
