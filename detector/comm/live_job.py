"""A running job as its ranks tell it: how far each is in each of its process groups, since when it waits, and how it took leave.

Ages come by the clocks of those who tell, and are counted on by ours: no clock is compared with another.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from gpuwarden.detector.comm.flight_dump import Group
from gpuwarden.detector.comm.pace import Pace
from gpuwarden.detector.comm.patience import Patience
from gpuwarden.proto.comm_pb2 import COMM_END_UNSPECIFIED, CommEnd, CommGroup
from gpuwarden.proto.decode_comm import Record, Said

RUNS: Final = COMM_END_UNSPECIFIED
SILENT_S: Final = 5.0  # a rank speaks once a second
PAST_STARTS: Final = 8


@dataclass(slots=True)
class LiveRank:
    """`heard_s`, `ended_s`: by our clock. `said`: its groups by id, as they were then."""

    node: str
    pid: int
    heard_s: float
    said: dict[str, CommGroup] = field(default_factory=dict)
    end: "CommEnd.ValueType" = RUNS
    ended_s: float = 0.0
    reason: str = ""

    def waits_s(self, group: CommGroup, now_s: float) -> float:
        """How long its oldest operation of a group has been pending."""
        return group.oldest_s + (now_s - self.heard_s) if group.asked > group.done else 0.0

    def longest_s(self, now_s: float) -> float:
        return max((self.waits_s(group, now_s) for group in self.said.values()), default=0.0)


@dataclass(slots=True)
class Sender:
    """How far an agent's records of this job have come."""

    start: str
    sequence: int
    past: list[str] = field(default_factory=list)


@dataclass(slots=True)
class LiveJob:
    """One attempt at a time: a new one begins anew. `launcher`: how what started the ranks ended, if it said."""

    name: str
    heard_s: float
    attempt: int = 0
    ranks: dict[int, LiveRank] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    senders: dict[str, Sender] = field(default_factory=dict)
    launcher: str = ""
    patience: Patience = field(default_factory=Patience)
    pace: Pace = field(default_factory=Pace)

    def lost(self, said: Record) -> int | None:
        """How many records of this agent never came; None for one that has come before."""
        sender = self.senders.get(said.node)
        if sender is None:
            self.senders[said.node] = Sender(said.agent_start, said.sequence)
            return 0
        if said.agent_start in sender.past or (said.agent_start == sender.start and said.sequence <= sender.sequence):
            return None
        expected = 1 if said.agent_start != sender.start else sender.sequence + 1
        if said.agent_start != sender.start:
            sender.past = [*sender.past, sender.start][-PAST_STARTS:]
        sender.start, sender.sequence = said.agent_start, said.sequence
        return said.sequence - expected

    def take(self, now_s: float, said: Said) -> None:
        """In order for each agent."""
        self.heard_s = now_s
        if said.launcher:
            self.launcher = said.end_reason
            return
        if said.attempt < self.attempt:
            return
        if said.attempt > self.attempt:
            self.attempt, self.ranks, self.groups, self.launcher, self.patience, self.pace = said.attempt, {}, {}, "", Patience(), Pace()
        at_s = now_s - said.age_s
        rank = self.ranks.get(said.rank)
        if rank is None or (rank.node, rank.pid) != (said.node, said.pid):
            rank = self.ranks[said.rank] = LiveRank(said.node, said.pid, at_s)
        if said.end != RUNS:
            rank.end, rank.ended_s, rank.reason = said.end, at_s, said.end_reason
            return
        self._learn(rank, said, at_s)
        rank.heard_s, rank.said = at_s, {group.id: group for group in said.groups}

    def _learn(self, rank: LiveRank, said: Said, at_s: float) -> None:
        for group in said.groups:
            if group.ranks:
                self.groups[group.id] = Group(group.desc, tuple(group.ranks))
            before = rank.said.get(group.id)
            if before is not None and group.done > before.done:
                self.patience.done(at_s, before.oldest_s, group.done - before.done, at_s - rank.heard_s)
        for operation in said.operations:
            self.patience.waited(at_s - operation.age_s, operation.time_max_s)
            self.pace.take(said.rank, operation, at_s - operation.age_s)

    def running(self, now_s: float) -> Iterator[tuple[int, LiveRank]]:
        """Those that speak."""
        return ((number, rank) for number, rank in self.ranks.items() if rank.end == RUNS and now_s - rank.heard_s < SILENT_S)
