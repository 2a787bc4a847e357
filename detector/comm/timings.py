"""What operations took, laid side by side over the ranks that did them together."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpuwarden.detector.comm.inspector import Done
from gpuwarden.detector.comm.process import Process

Times = NDArray[np.float64]

LEAST_MESSAGES: Final = 20
SELDOM_UNDERCUT: Final = 0.1


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


@dataclass(slots=True)
class Timings:
    """Mutable: lines are taken in one by one."""

    _collectives: dict[Kind, dict[int, dict[int, float]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(dict)))
    _messages: dict[Process, dict[Kind, list[float]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))
    _members: dict[str, dict[int, Process]] = field(default_factory=lambda: defaultdict(dict))
    _sizes: dict[str, int] = field(default_factory=dict)
    _dumped_us: dict[Kind, tuple[int, int]] = field(default_factory=dict)

    def take(self, lines: Iterable[Done]) -> None:
        for line in lines:
            kind = Kind(line.communicator, line.name, line.size_bytes, line.peer)
            self._members[line.communicator][line.rank], self._sizes[line.communicator] = line.process, line.ranks
            if line.peer is not None:
                self._messages[line.process][kind].append(line.took_us)
                continue
            self._collectives[kind][line.number][line.rank] = line.took_us
            first, last = self._dumped_us.get(kind, (line.dumped_us, line.dumped_us))
            self._dumped_us[kind] = min(first, line.dumped_us), max(last, line.dumped_us)

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
                first, last = self._dumped_us[kind]
                members = tuple(self._members[kind.communicator][rank] for rank in ranks)
                found.append(Together(kind, members, np.array(rows), (last - first) / max(len(rows) - 1, 1)))
        return found

    def delays_us(self) -> Mapping[tuple[Process, Process], float]:
        """From sender to receiver: what messages of one size take where neither waits for the other. The later of the two sees that, so of each
        side's times those that were seldom undercut count, and of these the lower."""
        quick = dict[tuple[Process, Process, int], float]()
        for process, kinds in self._messages.items():
            for kind, times in kinds.items():
                other = self._members[kind.communicator].get(-1 if kind.sent_to is None else kind.sent_to)
                if other is not None and len(times) >= LEAST_MESSAGES:
                    pair = (process, other) if kind.name == "Send" else (other, process)
                    key = (*pair, kind.size_bytes)
                    quick[key] = min(quick.get(key, np.inf), float(np.quantile(times, SELDOM_UNDERCUT)))
        usual = max((size for _, _, size in quick), default=0, key=lambda size: sum(one[2] == size for one in quick))
        return {(source, target): us for (source, target, size), us in quick.items() if size == usual}

    def in_messages_us(self) -> Mapping[Process, float]:
        """All that each process spent in messages, as far as lines tell."""
        return {process: sum(sum(times) for times in kinds.values()) for process, kinds in self._messages.items()}
