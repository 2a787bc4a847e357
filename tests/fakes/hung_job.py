"""A job with tensor, pipeline and data parallel groups that runs until nobody gets on, and the dumps that it would leave.

Each rank asks for its operations in order, up to some that are not done; an operation is done once all have asked for it and it is each one's oldest.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

Op = tuple[str, tuple[int, ...], int | None]  # kind; ranks of the group; the peer, None: a collective
AHEAD = 4


@dataclass(frozen=True)
class Fault:
    """From its `at`-th operation on, a rank asks for nothing more ("lock_gil"), or does not learn that anything is done ("gpu_error"), and so
    asks for nothing beyond what it asks for ahead: as recorded of jobs into which such faults were injected."""

    rank: int
    kind: str
    at: int


@dataclass
class HungJob:
    tensor: int
    pipeline: int
    data: int
    microbatches: int
    faults: tuple[Fault, ...]
    asked: list[int] = field(default_factory=list)
    done: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        ranks = range(self.tensor * self.pipeline * self.data)
        self.programs = [list(self._program(rank)) for rank in ranks]
        self.asked, self.done = [0 for _ in ranks], [0 for _ in ranks]
        while self._ask() | self._do():
            pass

    def reached(self) -> dict[int, str]:
        """The faults that came to bear."""
        return {
            fault.rank: fault.kind
            for fault in self.faults
            if (self.asked[fault.rank] == fault.at if fault.kind == "lock_gil" else self._told(fault.rank) < self.done[fault.rank])
            and self.done[fault.rank] < len(self.programs[fault.rank])
        }

    def _told(self, rank: int) -> int:
        """How many the rank knows to be done."""
        return min([self.done[rank], *(fault.at for fault in self.faults if fault.rank == rank and fault.kind == "gpu_error")])

    def _rank(self, data: int, stage: int, tensor: int) -> int:
        return (data * self.pipeline + stage) * self.tensor + tensor

    def _program(self, rank: int) -> list[Op]:
        rest, tensor = divmod(rank, self.tensor)
        data, stage = divmod(rest, self.pipeline)
        peers = tuple(self._rank(data, stage, other) for other in range(self.tensor))
        pipeline = tuple(self._rank(data, other, tensor) for other in range(self.pipeline))
        copies = tuple(self._rank(other, stage, tensor) for other in range(self.data))
        step: list[Op] = []
        for _ in range(self.microbatches):
            step += [("recv", pipeline, pipeline[stage - 1])] if stage else []
            step += [("tensor", peers, None)] * 2 if len(peers) > 1 else []
            step += [("send", pipeline, pipeline[stage + 1])] if stage + 1 < self.pipeline else []
        step += [("data", copies, None)] if len(copies) > 1 else []
        return step * 6

    def _ask(self) -> bool:
        moved = False
        for rank, program in enumerate(self.programs):
            end = min([len(program), self._told(rank) + AHEAD, *(f.at for f in self.faults if f.rank == rank and f.kind == "lock_gil")])
            moved |= end > self.asked[rank]
            self.asked[rank] = max(end, self.asked[rank])
        return moved

    def _do(self) -> bool:
        """One pass; an operation stands at the head of all its ranks or waits."""
        moved = False
        for rank in range(len(self.programs)):
            if (head := self._head(rank)) is not None:
                _, group, peer = head
                others = group if peer is None else (rank, peer)
                if all(self._meets(rank, other, head) for other in others):
                    moved = True
                    for other in others:
                        self.done[other] += 1
        return moved

    def _head(self, rank: int) -> Op | None:
        return None if self.done[rank] >= self.asked[rank] else self.programs[rank][self.done[rank]]

    def _meets(self, rank: int, other: int, head: Op) -> bool:
        theirs = self._head(other)
        if rank == other or theirs is None:
            return rank == other
        if head[2] is None:
            return theirs == head and self._before(rank, head) == self._before(other, head)
        return theirs[1] == head[1] and theirs[2] == rank and {theirs[0], head[0]} == {"send", "recv"}

    def _before(self, rank: int, op: Op) -> int:
        return self.programs[rank][: self.done[rank]].count(op)

    def dumps(self) -> dict[int, dict[str, Any]]:
        return {rank: self._dump(rank) for rank in range(len(self.programs))}

    def _dump(self, rank: int) -> dict[str, Any]:
        program, groups = self.programs[rank], defaultdict[tuple[str, tuple[int, ...]], list[int]](list)
        for place, (kind, group, _) in enumerate(program):
            groups["pipeline" if kind in ("send", "recv") else kind, group].append(place)
        config, status, entries = {}, {}, []
        for number, ((desc, group), places) in enumerate(sorted(groups.items())):
            name = str(10 * number + 3)
            config[name] = {"name": name, "desc": desc, "ranks": str(list(group))}
            done, asked = (sum(place < end for place in places) for end in (self._told(rank), self.asked[rank]))
            status[str(number)] = {"last_enqueued_collective": asked, "last_started_collective": -1, "last_completed_collective": done}
            entries += [
                self._entry(rank, place, number, name, places.index(place) + 1) for place in places if self._told(rank) <= place < self.asked[rank]
            ]
        return {"version": "2.9", "nccl_version": "2.27.3", "pg_config": config, "pg_status": status, "entries": entries}

    def _entry(self, rank: int, place: int, number: int, name: str, sequence: int) -> dict[str, Any]:
        kind, group, peer = self.programs[rank][place]
        arrow = "->" if kind == "send" else "<-"
        says = "all_reduce" if peer is None else f"{kind} {group.index(rank)}{arrow}{group.index(peer)}"
        desc = "pipeline" if peer is not None else kind
        return {
            "record_id": place, "pg_id": number, "process_group": (name, desc), "collective_seq_id": sequence, "p2p_seq_id": 0, "op_id": sequence,
            "profiling_name": f"nccl:{says}", "time_created_ns": 1000 * place, "state": "scheduled", "retired": False, "is_p2p": peer is not None,
        }  # fmt: skip
