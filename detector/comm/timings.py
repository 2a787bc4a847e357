"""What operations took, laid side by side over the ranks that did them together."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from gpuwarden.core.nccl.inspector import Done
from gpuwarden.core.nccl.process import Process

Times = NDArray[np.float64]

LEAST_MESSAGES: Final = 20
SELDOM_UNDERCUT: Final = 0.1
SENT, RECEIVED = "Send", "Recv"


class Kind(NamedTuple):
    """Operations that can be compared: of one communicator, one name and one size. `sent_to`: of a message, the rank of the other."""

    communicator: str
    name: str
    size_bytes: int
    sent_to: int | None = None


@dataclass(frozen=True, slots=True)
class Together:
    """`took_us` is (operations, members), NaN where no line told; `period_us` from one operation to the next, as far as dumps tell."""

    kind: Kind
    members: tuple[Process, ...]
    took_us: Times
    period_us: float


class Measured(Protocol):
    """What a job's operations took, wherever that comes from; each as `Timings` has it."""

    @property
    def ranks(self) -> Mapping[Process, int]: ...
    def together(self) -> Sequence[Together]: ...
    def delays_us(self) -> Mapping[tuple[Process, Process], float]: ...
    def in_messages_us(self) -> Mapping[Process, float]: ...


def period_us(dumped_us: Sequence[int]) -> float:
    """From one operation to the next, from when each was dumped: all that comes after the first dump was done between it and the last."""
    first, last = min(dumped_us), max(dumped_us)
    return (last - first) / max(sum(one > first for one in dumped_us), 1)


def quick_us(took_us: Times) -> Times:
    """Along the first axis: what seldom is undercut."""
    return np.asarray(np.quantile(took_us, SELDOM_UNDERCUT, axis=0))


def of_usual_size(quick: Mapping[tuple[Process, Process, int], float]) -> Mapping[tuple[Process, Process], float]:
    """The size that most pairs have messages of."""
    sizes = Counter(size for _, _, size in quick)
    usual = max(sizes, default=0, key=lambda size: (sizes[size], -size))
    return {(source, target): us for (source, target, size), us in quick.items() if size == usual}


@dataclass(slots=True)
class Numbers:
    """Of a process's messages in one communicator, which are counted together."""

    first: int
    last: int
    seen: int = 0

    def take(self, numbers: Sequence[int]) -> None:
        self.first, self.last, self.seen = min(self.first, *numbers), max(self.last, *numbers), self.seen + len(numbers)

    @property
    def of_seen(self) -> float:
        """How many there were for each that a line told of."""
        return max((self.last - self.first + 1) / self.seen, 1.0)


@dataclass(slots=True)
class Timings:
    """Mutable: lines are taken in one by one."""

    _collectives: dict[Kind, dict[int, dict[int, float]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(dict)))
    _messages: dict[Process, dict[Kind, list[float]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))
    _numbers: dict[tuple[Process, str], Numbers] = field(default_factory=dict)
    _members: dict[str, dict[int, Process]] = field(default_factory=lambda: defaultdict(dict))
    _sizes: dict[str, int] = field(default_factory=dict)
    _dumped_us: dict[Kind, dict[int, int]] = field(default_factory=lambda: defaultdict(dict))

    def take(self, lines: Iterable[Done]) -> None:
        for line in lines:
            kind = Kind(line.communicator, line.name, line.size_bytes, line.peer)
            self._members[line.communicator][line.rank], self._sizes[line.communicator] = line.process, line.ranks
            if line.peer is not None:
                self._messages[line.process][kind].append(line.took_us)
                self._numbers.setdefault((line.process, line.communicator), Numbers(line.number, line.number)).take((line.number,))
                continue
            self._collectives[kind][line.number][line.rank] = line.took_us
            dumped_us = self._dumped_us[kind]
            dumped_us[line.number] = max(dumped_us.get(line.number, 0), line.dumped_us)

    @property
    def ranks(self) -> Mapping[Process, int]:
        """Of the whole job: the rank in the largest communicator that tells of each."""
        ranks = dict[Process, int]()
        for communicator in sorted(self._members, key=lambda one: self._sizes[one]):
            ranks |= {process: rank for rank, process in self._members[communicator].items()}
        return ranks

    def together(self) -> list[Together]:
        """Collectives of which at least two ranks told."""
        found = list[Together]()
        for kind, by_number in self._collectives.items():
            ranks = sorted(self._members[kind.communicator])
            if len(ranks) > 1:
                rows = [[by_rank.get(rank, np.nan) for rank in ranks] for _, by_rank in sorted(by_number.items())]
                members = tuple(self._members[kind.communicator][rank] for rank in ranks)
                found.append(Together(kind, members, np.array(rows), period_us([*self._dumped_us[kind].values()])))
        return found

    def delays_us(self) -> Mapping[tuple[Process, Process], float]:
        """From sender to receiver: what messages of one size take where neither waits for the other. The later of the two sees that, so of each
        side's times those that were seldom undercut count, and of these the lower."""
        quick = dict[tuple[Process, Process, int], float]()
        for process, kinds in self._messages.items():
            for kind, times in kinds.items():
                other = self._members[kind.communicator].get(-1 if kind.sent_to is None else kind.sent_to)
                if other is not None and len(times) >= LEAST_MESSAGES:
                    pair = (process, other) if kind.name == SENT else (other, process)
                    key = (*pair, kind.size_bytes)
                    quick[key] = min(quick.get(key, np.inf), float(quick_us(np.array(times))))
        return of_usual_size(quick)

    def in_messages_us(self) -> Mapping[Process, float]:
        """All that each process spent in messages that it received, also those that no line told of. Who sends goes on."""
        spent = dict[Process, float]()
        for process, kinds in self._messages.items():
            for kind, times in kinds.items():
                more = self._numbers[process, kind.communicator].of_seen if kind.name == RECEIVED else 0.0
                spent[process] = spent.get(process, 0.0) + more * sum(times)
        return spent
