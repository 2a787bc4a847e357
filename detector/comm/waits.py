"""Who waits for whom, from all ranks' dumps.

A rank waits for another of the same group that has not asked for the operation that it waits in, or is behind with what was asked before: that one
holds it up. In its oldest operation it also waits for those that have asked for the same, be it that they have something older to finish first,
or that it is their oldest too. Groups are the same where description and ranks are: their names and numbers differ from rank to rank.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise

from gpuwarden.detector.comm.flight_dump import Counts, Dump, Group, Pending
from gpuwarden.detector.comm.flight_folder import Dumps
from gpuwarden.detector.comm.strongly import components


class Because(Enum):
    """Why one rank waits for another."""

    NOT_ASKED = "has not asked for it"
    BEHIND = "has asked for it, and is behind with what came before"
    BUSY = "has asked for it, and has something older to finish first"
    TOGETHER = "waits in the same"
    MISSING = "has left no dump"
    LIKE_OTHERS = "has left no dump, and would wait as the others of its group do"


HARD = (Because.NOT_ASKED, Because.BEHIND)
"""What nobody else can be to blame for."""


@dataclass(frozen=True, slots=True)
class Wait:
    """`who` waits for `whom`, in this operation of `who`, or of another of its group."""

    who: int
    whom: int
    because: Because
    pending: Pending

    @property
    def said(self) -> str:
        return f"{self.who} waits in {self.pending.said} of {self.pending.group.desc} for {self.whom}, which {self.because.value}"


def waits_of(dumps: Dumps) -> list[Wait]:
    """Enough of them to follow everybody's wait to its end."""
    view = _View(dumps)
    waiting = {who: dump for who, dump in dumps.by_rank.items() if who not in view.lagging}
    found = [wait for who, dump in waiting.items() for first in _firsts(dump) for wait in view.hard(who, first)]
    for oldest, ranks in view.oldest.items():
        found += view.busy(oldest, ranks) if oldest.collective else ()
        found += _together(oldest, ranks)
    found += [wait for who, dump in waiting.items() for wait in view.busy_peer(who, dump)]
    explained = {wait.who for wait in found if wait.because is not Because.TOGETHER}
    found += [wait for who, dump in waiting.items() if who not in explained for wait in view.missing(who, dump)]
    return _without_circles([*found, *view.like_others([wait for wait in found if wait.because in HARD])])


def _without_circles(waits: Sequence[Wait]) -> list[Wait]:
    """Who left no dump does not wait, as others do, for one that in the end waits for it."""
    onward, circle = defaultdict[int, list[int]](list), dict[int, int]()
    for wait in waits:
        onward[wait.who].append(wait.whom)
    for number, ranks in enumerate(components({wait.whom for wait in waits} | set(onward), onward)):
        circle |= dict.fromkeys(ranks, number)
    return [wait for wait in waits if wait.because is not Because.LIKE_OTHERS or circle[wait.who] != circle[wait.whom]]


def lagging(dumps: Dumps) -> set[int]:
    """Ranks with something pending that others of the group have done: all had asked for it, so it waits for nobody."""
    most = defaultdict[Group, int](int)
    for dump in dumps.by_rank.values():
        for group, counts in dump.counts.items():
            most[group] = max(most[group], counts.done)
    return {
        rank
        for rank, dump in dumps.by_rank.items()
        for pending in _firsts(dump)
        if (mine := _comparable(dump, pending)) is not None and mine.done < most[pending.group]
    }


def _comparable(dump: Dump, pending: Pending) -> Counts | None:
    """Counts of a group can be held against each other where all its operations are everybody's: of two ranks, or where the oldest that is pending is
    a collective and the next to be done; with messages between some of its ranks in them they tell nothing."""
    mine = dump.counts.get(pending.group)
    whole = len(pending.group.ranks) == 2 if pending.peer is not None else mine is not None and pending.number == mine.done + 1
    return mine if whole else None


@dataclass(frozen=True, slots=True)
class _Operation:
    """The same at all ranks of a group, or at two of them. `number` of a collective; `between` the two."""

    group: Group
    number: int
    between: tuple[int, int] | None

    @property
    def collective(self) -> bool:
        return self.between is None


def _operation(who: int, pending: Pending) -> _Operation:
    if pending.peer is None:
        return _Operation(pending.group, pending.number, None)
    return _Operation(pending.group, 0, (min(who, pending.peer), max(who, pending.peer)))


def _firsts(dump: Dump) -> Iterator[Pending]:
    """The oldest of each group, and towards each peer."""
    seen = set[tuple[Group, int | None]]()
    for pending in dump.pending:
        if (key := (pending.group, pending.peer)) not in seen:
            seen.add(key)
            yield pending


def _together(oldest: _Operation, ranks: Sequence[tuple[int, Pending]]) -> Iterator[Wait]:
    """In a ring: each reaches each."""
    if len(ranks) > 1:
        for (who, pending), (whom, _) in pairwise((*ranks, ranks[0])):
            yield Wait(who, whom, Because.TOGETHER, pending)


class _View:
    """The dumps by group and by operation."""

    def __init__(self, dumps: Dumps) -> None:
        self._dumps = dumps
        self._counts = defaultdict[Group, dict[int, Counts]](dict)
        self._asked = defaultdict[_Operation, list[tuple[int, Pending]]](list)
        self.oldest = defaultdict[_Operation, list[tuple[int, Pending]]](list)
        self._behind = dict[tuple[Group, int], list[tuple[int, Because]]]()
        self.lagging = lagging(dumps)
        for rank, dump in dumps.by_rank.items():
            for group, counts in dump.counts.items():
                self._counts[group][rank] = counts
            for pending in dump.pending:
                self._asked[_operation(rank, pending)].append((rank, pending))
            if dump.pending and rank not in self.lagging:
                self.oldest[_operation(rank, dump.pending[0])].append((rank, dump.pending[0]))

    def hard(self, who: int, pending: Pending) -> Iterator[Wait]:
        alone = pending.peer is not None and len(pending.group.ranks) > 2
        others = self._fewer(who, pending) if alone else self._behind_of(who, pending)
        return (Wait(who, whom, because, pending) for whom, because in others if whom != who)

    def _behind_of(self, who: int, pending: Pending) -> Iterable[tuple[int, Because]]:
        mine = _comparable(self._dumps.by_rank[who], pending)
        if mine is None:
            return ()
        key = pending.group, mine.done
        if key not in self._behind:
            members = self._counts[pending.group].items()
            self._behind[key] = [
                (whom, Because.NOT_ASKED if theirs.asked <= mine.done else Because.BEHIND)
                for whom, theirs in members
                if theirs.asked <= mine.done or theirs.done < mine.done
            ]
        return self._behind[key]

    def _fewer(self, who: int, pending: Pending) -> Iterator[tuple[int, Because]]:
        """Between two, operations match one by one: who has fewer pending has not asked for the rest."""
        assert pending.peer is not None
        if pending.peer in self.lagging:
            yield pending.peer, Because.BEHIND
        elif pending.peer in self._dumps.by_rank:
            ranks = [rank for rank, _ in self._asked[_operation(who, pending)]]
            if ranks.count(pending.peer) < ranks.count(who):
                yield pending.peer, Because.NOT_ASKED

    def busy(self, oldest: _Operation, ranks: Sequence[tuple[int, Pending]]) -> Iterator[Wait]:
        """All to whom this is the oldest wait for those of the group to whom it is not."""
        here = {rank for rank, _ in ranks}
        return (Wait(who, whom, Because.BUSY, mine) for whom, _ in self._asked[oldest] if whom not in here for who, mine in ranks)

    def busy_peer(self, who: int, dump: Dump) -> Iterator[Wait]:
        oldest = dump.pending[0] if dump.pending else None
        if oldest is not None and oldest.peer is not None and oldest.peer in self._dumps.by_rank:
            theirs = self._dumps.by_rank[oldest.peer].pending
            asked = any(one.group == oldest.group and one.peer == who for one in theirs)
            if asked and (theirs[0].group, theirs[0].peer) != (oldest.group, who):
                yield Wait(who, oldest.peer, Because.BUSY, oldest)

    def missing(self, who: int, dump: Dump) -> Iterator[Wait]:
        for pending in dump.pending[:1]:
            others = (pending.peer,) if pending.peer is not None else pending.group.ranks
            yield from (Wait(who, whom, Because.MISSING, pending) for whom in others if whom not in self._dumps.by_rank)

    def like_others(self, hard: Sequence[Wait]) -> Iterator[Wait]:
        """Who left no dump would wait for the same that others of its group are held up by."""
        seen = set[tuple[int, Group]]()
        for wait in hard:
            if wait.pending.peer is None and (wait.whom, wait.pending.group) not in seen:
                seen.add((wait.whom, wait.pending.group))
                away = (rank for rank in wait.pending.group.ranks if rank not in self._dumps.by_rank)
                yield from (Wait(rank, wait.whom, Because.LIKE_OTHERS, wait.pending) for rank in away)
