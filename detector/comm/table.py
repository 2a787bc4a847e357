"""What a running job's operations took, in rows of a second as agents make them of NCCL Inspector's lines: what `Timings` is to the lines themselves, over the newest part.

Seconds are those of each process's own wall clock, and only tell how old a row is beside the newest of the same process: no clock is compared with another.
"""

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpuwarden.core.nccl.process import Process
from gpuwarden.detector.comm.timings import (
    LEAST_MESSAGES,
    RECEIVED,
    SENT,
    Kind,
    Numbers,
    Together,
    of_usual_size,
    quick_us,
)
from gpuwarden.proto.comm_pb2 import CommTimes

MOST_OPERATIONS: Final = 4_000_000  # of a job, counted at each rank
ROW_COSTS: Final = 64  # operations that a row counts as at least: it takes as long to lay out
WINDOW_US: Final = 600_000_000
APART_US: Final = 600_000_000  # two dumps of a job at work are not
SHORTER: Final = 0.8  # the window, where that is too many
SILENT_S: Final = 120.0  # a process that others outlive by so long has ended
Integers = NDArray[np.int64]


class Row(NamedTuple):
    """`offsets` of numbers from `first`; None where one follows the other."""

    kind: Kind
    rank: int
    ranks: int
    dumped_us: int
    first: int
    offsets: NDArray[np.uint32] | None
    took_us: NDArray[np.uint32]

    @property
    def numbers(self) -> Integers:
        return self.first + (np.arange(len(self.took_us)) if self.offsets is None else self.offsets.astype(np.int64))


@dataclass(slots=True)
class _Log:
    """`place`: how many ranks its largest communicator has, and which it is."""

    heard_s: float
    place: tuple[int, int] = (0, 0)
    rows: deque[Row] = field(default_factory=deque)


@dataclass(slots=True)
class Table:
    """Mutable: rows are taken in as they come. `window_us`: as far back as is kept of each process."""

    window_us: int = WINDOW_US
    operations: int = 0
    _logs: dict[Process, _Log] = field(default_factory=dict)

    def take(self, now_s: float, process: Process, times: Iterable[CommTimes], most: int = MOST_OPERATIONS) -> None:
        """Rows that are checked. `most` operations are kept."""
        log = self._logs.setdefault(process, _Log(now_s))
        log.heard_s = now_s
        for row in map(_row, times):
            log.rows.append(row)
            log.place = max(log.place, (row.ranks, row.rank))
            self.operations += _cost(row)
        self._forget(now_s, log, most)

    def _forget(self, now_s: float, log: _Log, most: int) -> None:
        self._drop(log)
        while self.operations > most:
            self.window_us = int(SHORTER * self.window_us)
            for other in self._logs.values():
                self._drop(other)
        for process in [process for process, other in self._logs.items() if now_s - other.heard_s > SILENT_S]:
            self.operations -= sum(_cost(row) for row in self._logs.pop(process).rows)

    def _drop(self, log: _Log) -> None:
        """Rows that are older, and those of a clock that was set back since."""
        newest_us = log.rows[-1].dumped_us if log.rows else 0
        while log.rows and not 0 <= newest_us - log.rows[0].dumped_us <= self.window_us:
            self.operations -= _cost(log.rows.popleft())

    def newest(self, window_us: int) -> "Newest":
        """So much of each process."""
        logs = {process: log for process, log in sorted(self._logs.items(), key=lambda one: (one[1].place[1], one[0].host, one[0].pid)) if log.rows}
        rows = {process: [row for row in log.rows if 0 <= log.rows[-1].dumped_us - row.dumped_us <= window_us] for process, log in logs.items()}
        return Newest(rows, {process: log.place[1] for process, log in logs.items()})


def _cost(row: Row) -> int:
    return max(ROW_COSTS, len(row.took_us))


def _row(times: CommTimes) -> Row:
    offsets = np.frombuffer(times.offsets, "<u4") if times.offsets else None
    kind = Kind(times.communicator, times.operation, times.size_bucket_bytes, times.peer if times.HasField("peer") else None)
    return Row(kind, times.rank, times.rank_count, times.dumped_us, times.first_sequence, offsets, np.frombuffer(times.took_us, "<u4"))


@dataclass(frozen=True, slots=True)
class Newest:
    """Rows by process. `ranks`: in the largest communicator that ever told of each, which is the job's where all are of one."""

    rows: Mapping[Process, Sequence[Row]]
    ranks: Mapping[Process, int]

    def _members(self) -> Mapping[str, Mapping[int, Process]]:
        members = defaultdict[str, dict[int, Process]](dict)
        for process, rows in self.rows.items():
            for row in rows:
                members[row.kind.communicator][row.rank] = process
        return members

    def together(self) -> list[Together]:
        """Collectives of which at least two ranks told."""
        by_kind = defaultdict[Kind, dict[int, list[Row]]](lambda: defaultdict(list))
        for rows in self.rows.values():
            for row in rows:
                if row.kind.sent_to is None:
                    by_kind[row.kind][row.rank].append(row)
        members = self._members()
        return [_together(kind, by_rank, members[kind.communicator]) for kind, by_rank in by_kind.items() if len(members[kind.communicator]) > 1]

    def delays_us(self) -> Mapping[tuple[Process, Process], float]:
        """As `Timings` has it."""
        quick, members = dict[tuple[Process, Process, int], float](), self._members()
        for process, rows in self.rows.items():
            for kind, took_us in _messages(rows).items():
                other = members[kind.communicator].get(-1 if kind.sent_to is None else kind.sent_to)
                if other is not None and len(took_us) >= LEAST_MESSAGES:
                    pair = (process, other) if kind.name == SENT else (other, process)
                    key = (*pair, kind.size_bytes)
                    quick[key] = min(quick.get(key, np.inf), float(quick_us(took_us)))
        return of_usual_size(quick)

    def in_messages_us(self) -> Mapping[Process, float]:
        """As `Timings` has it."""
        spent = dict[Process, float]()
        for process, rows in self.rows.items():
            numbers = dict[str, Numbers]()
            for row in rows:
                if row.kind.sent_to is not None:
                    of = numbers.setdefault(row.kind.communicator, Numbers(row.first, row.first))
                    of.take(row.numbers.tolist())
            for kind, took_us in _messages(rows).items():
                more = numbers[kind.communicator].of_seen if kind.name == RECEIVED else 0.0
                spent[process] = spent.get(process, 0.0) + more * float(took_us.sum())
        return spent


def _messages(rows: Iterable[Row]) -> Mapping[Kind, NDArray[np.float64]]:
    of = defaultdict[Kind, list[NDArray[np.uint32]]](list)
    for row in rows:
        if row.kind.sent_to is not None:
            of[row.kind].append(row.took_us)
    return {kind: np.concatenate(parts).astype(np.float64) for kind, parts in of.items()}


def _together(kind: Kind, by_rank: Mapping[int, Sequence[Row]], members: Mapping[int, Process]) -> Together:
    ranks = sorted(members)
    numbers = np.unique(np.concatenate([row.numbers for rows in by_rank.values() for row in rows]))
    took_us = np.full((len(numbers), len(ranks)), np.nan)
    for column, rank in enumerate(ranks):
        for row in by_rank.get(rank, ()):
            took_us[np.searchsorted(numbers, row.numbers), column] = row.took_us
    longest = max(by_rank.values(), key=len)
    return Together(kind, tuple(members[rank] for rank in ranks), took_us, _period_us(numbers, longest))


def _period_us(numbers: Integers, rows: Sequence[Row]) -> float:
    """From one operation to the next, by one process's clock: all that comes after its first dump. Where that clock was set, the time and operations in between are left out."""
    places = np.concatenate([np.searchsorted(numbers, row.numbers) for row in rows])
    dumped_us = np.concatenate([np.full(len(row.took_us), row.dumped_us) for row in rows])
    order = np.argsort(places, kind="stable")
    steps_us, operations = np.diff(dumped_us[order]), np.diff(places[order])
    first = int(np.argmax(steps_us != 0)) if steps_us.any() else len(steps_us)
    sound = (steps_us >= 0) & (steps_us < APART_US)
    sound[:first] = False
    return float(steps_us[sound].sum()) / max(int(operations[sound].sum()), 1)
