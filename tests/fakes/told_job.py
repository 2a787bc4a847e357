"""A job of ranks that step together, in virtual time, and the records of what each says once a second. Written after what real jobs on gloo told."""

from dataclasses import dataclass, field

from gpuwarden.detector.events import Raw
from gpuwarden.proto import topics
from gpuwarden.proto.comm_pb2 import (
    COMM_END_RAISED,
    CommEnd,
    CommGroup,
    CommOperations,
    CommPending,
    CommSummary,
)
from gpuwarden.proto.encode import COMM_VERSION

STEP_S = 0.5


@dataclass
class ToldJob:
    """`done`: steps. `late_s` of a rank: how much longer than the others it takes for each step. `silent`: who says nothing. `absent`: who has not come to the next step.
    `in_pair`: who waits for its pair's operation, which comes before that, where there are `pairs`."""

    ranks: int = 4
    name: str = "42"
    node: str = "n1"
    attempt: int = 0
    start: str = "s1"
    now_s: float = 1000.0
    done: int = 0
    hung_since_s: float | None = None
    absent: set[int] = field(default_factory=set)
    silent: set[int] = field(default_factory=set)
    gone: set[int] = field(default_factory=set)
    late_s: dict[int, float] = field(default_factory=dict)
    pairs: bool = False
    in_pair: set[int] = field(default_factory=set)
    sequence: int = 0
    offset: int = 0
    _owed_s: float = 0.0

    def second(self) -> tuple[Raw, ...]:
        """What is said in the next second, in which the job steps on unless somebody is absent."""
        self.now_s += 1.0
        before = self.done
        if self.absent | self.silent | self.gone:
            self.hung_since_s = self.now_s - 0.5 if self.hung_since_s is None else self.hung_since_s
        else:
            self.hung_since_s = None
            step_s = STEP_S + max(self.late_s.values(), default=0.0)
            self._owed_s += 1.0
            while self._owed_s >= step_s:
                self._owed_s, self.done = self._owed_s - step_s, self.done + 1
        return tuple(self._raw(self._words(rank, range(before + 1, self.done + 1))) for rank in range(self.ranks) if rank not in self.silent | self.gone)

    def end(self, rank: int, end: "CommEnd.ValueType", age_s: float, reason: str = "") -> Raw:
        """A last record, of an end so long ago."""
        self.gone.add(rank)
        self.sequence += 1
        return self._raw(self._head(rank, end=end, age_s=age_s, end_reason=reason))

    def launcher_ends(self, reason: str) -> Raw:
        self.sequence += 1
        return self._raw(self._head(0, end=COMM_END_RAISED, end_reason=reason, launcher=True))

    def _words(self, rank: int, numbers: range) -> CommSummary:
        self.sequence += 1
        waits = self.hung_since_s is not None and rank not in self.absent
        waits_s = self.now_s - self.hung_since_s if self.hung_since_s is not None and waits else 0.0
        pending = [CommPending(order=self.done + 1, number=self.done + 1, name="gloo:all_reduce", age_s=waits_s)] if waits_s > 2 else []
        group = CommGroup(id="w", desc="default_pg", ranks=range(self.ranks), asked=self.done + waits, done=self.done, oldest_s=waits_s, pending=pending)
        groups = [group] if rank not in self.in_pair else [CommGroup(id="w", desc="default_pg", ranks=range(self.ranks), asked=self.done, done=self.done)]
        if self.pairs:
            there = rank in self.in_pair
            done = self.done + (not there and self.hung_since_s is not None)
            ranks = range(rank // 2 * 2, rank // 2 * 2 + 2)
            groups.append(CommGroup(id=f"p{rank // 2}", desc="pair", ranks=ranks, asked=done + there, done=done, oldest_s=waits_s if there else 0.0))
        worst_s = max(self.late_s.values(), default=0.0)
        operations = [
            CommOperations(
                operation="all_reduce", size_bucket_bytes=1024, first_sequence=number, last_sequence=number, count=1, group="w",
                time_max_s=0.01 + worst_s - self.late_s.get(rank, 0.0), age_s=STEP_S * (self.done - number),
            )
            for number in numbers
        ]  # fmt: skip
        return self._head(rank, groups=groups, operations=operations)

    def _head(self, rank: int, **more: object) -> CommSummary:
        return CommSummary(
            version=COMM_VERSION, node=self.node, agent_start=self.start, sequence=self.sequence, unix_ns=int(self.now_s * 1e9), job_id=self.name, rank=rank,
            rank_count=self.ranks, pid=100 + rank + 1000 * self.attempt, attempt=self.attempt, **more,  # type: ignore[arg-type]  # as the caller has it
        )  # fmt: skip

    def _raw(self, record: CommSummary) -> Raw:
        self.offset += 1
        return Raw(0, self.offset, self.name, record.SerializeToString(), topics.COMM)
