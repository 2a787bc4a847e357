"""Per-job accounting: joules, time under a cap and what that may have cost, for each job of a recorded history.

A card that several jobs have at once (time slices, MPS, MIG) is shared out between them in equal parts, time and energy: nothing
that a card tells says who of them drew what. All processes of a job on a card are one. So all jobs, idle cards and what nobody is
known for add up to the counters.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]  # has no types

from gpuwarden.detector.account_card import MEASURES, Joint, spent
from gpuwarden.detector.account_read import parts
from gpuwarden.detector.account_rows import FIRST_JOB, IDLE, NOT_KNOWN, Names, Rows
from gpuwarden.detector.cap_cost import Values

_AT: Final = {name: i for i, name in enumerate(MEASURES)}


@dataclass(frozen=True, slots=True)
class Share:
    """What one job had, or nobody. Times are seconds of a whole card.

    least_ratio and most_ratio are the share of the time that would have been saved without our caps: by the mean of the cards, and of
    the card that lost the largest share, since a job whose ranks wait for each other waits for that one. power_j is the part of energy_j
    that no counter has counted.
    """

    gpus: int
    gpu_s: float
    energy_j: float
    power_j: float
    capped_s: float
    held_s: float
    unmeasured_s: float
    least_ratio: float
    most_ratio: float

    @property
    def mean_w(self) -> float:
        return self.energy_j / self.gpu_s if self.gpu_s else 0.0

    @property
    def slowdown(self) -> tuple[float, float]:
        """How much longer the same work took, from least to most: lost / (1 - lost)."""
        return self.least_ratio / (1 - self.least_ratio), self.most_ratio / (1 - self.most_ratio)


@dataclass(frozen=True, slots=True)
class JobShare:
    """`job_id` '': processes that belong to no job that is known. `job_class` names several with commas."""

    job_id: str
    user: str
    job_class: str
    share: Share


@dataclass(frozen=True, slots=True)
class Account:
    """Of a history between its first and last row. `counters_j` is what the cards' own counters rose by.

    `unread_s` is time of cards whose energy nobody has read, neither as a count nor as power.
    """

    first_ns: int
    last_ns: int
    gpus: int
    jobs: tuple[JobShare, ...]
    idle: Share
    not_known: Share
    counters_j: float
    unread_s: float

    @property
    def energy_j(self) -> float:
        return sum(job.share.energy_j for job in self.jobs) + self.idle.energy_j + self.not_known.energy_j

    @property
    def power_j(self) -> float:
        """The part of it that no counter has counted."""
        return sum(job.share.power_j for job in self.jobs) + self.idle.power_j + self.not_known.power_j

    @property
    def difference_ratio(self) -> float:
        """Of what was counted here from what the counters rose by."""
        off_j = self.energy_j - self.power_j - self.counters_j
        return off_j / self.counters_j if self.counters_j else 0.0


def account(folder: Path, start_ns: int, end_ns: int) -> Account:
    """Of the rows of [start_ns, end_ns). Raises BadHistory."""
    book = Book()
    for part in parts(folder, start_ns, end_ns):
        book.add(part)
    return book.closed()


class Book:
    """Takes the parts of a history in order of time. What it keeps grows with cards, starts and jobs, not with rows."""

    def __init__(self) -> None:
        self._names = Names()
        self._last: dict[int, Rows] = {}
        self._spent: defaultdict[tuple[int, int], Values] = defaultdict(lambda: np.zeros(len(MEASURES)))  # (party, card)
        self._counters: dict[tuple[int, int], tuple[float, float]] = {}  # (card, start) -> lowest, highest
        self._joined_j = self._unread_s = 0.0
        self._first_ns, self._last_ns = 2**64, 0

    def add(self, part: pa.Table) -> None:
        """Rows with the columns of `account_read`; a node has all its rows of an hour in one part."""
        rows = self._names.rows(part)
        if not len(rows):
            return
        self._first_ns = min(self._first_ns, int(rows["unix_ns"].min()))
        self._last_ns = max(self._last_ns, int(rows["unix_ns"].max()))
        rows = rows[np.argsort(rows["card"], kind="stable")]
        for one in np.split(rows, np.flatnonzero(np.diff(rows["card"])) + 1):
            self._add_card(int(one["card"][0]), one)

    def _add_card(self, card: int, rows: Rows) -> None:
        self._count(card, rows)
        before = self._last.get(card)
        found = spent(rows if before is None else np.concatenate((before, rows)), self._names)
        if found is None:
            return
        self._last[card] = found.last
        for joint in found.joints:
            self._joined_j += joint.rise_j - self._in_both_j(card, joint)
        self._unread_s += found.unread_s
        for holders, measures in zip(found.holders, found.measures, strict=True):
            parties = self._names.holders[holders]
            for party in parties:
                self._spent[party, card] += measures / len(parties)

    def _in_both_j(self, card: int, joint: Joint) -> float:
        """What the earlier start counted after it was left and the later one before it was joined: the joint has it too."""
        _, highest_j = self._counters[card, joint.before]
        lowest_j, _ = self._counters[card, joint.after]
        return highest_j - joint.before_j + joint.after_j - lowest_j

    def _count(self, card: int, rows: Rows) -> None:
        """Of the counter nothing but its ends, so that it can be held against what was added up span by span."""
        rows = rows[~np.isnan(rows["counter_j"])]
        for start in np.unique(rows["start"]):
            counter_j = rows["counter_j"][rows["start"] == start]
            low_j, high_j = self._counters.get((card, int(start)), (np.inf, -np.inf))
            self._counters[card, int(start)] = min(low_j, float(counter_j.min())), max(high_j, float(counter_j.max()))

    def closed(self) -> Account:
        """Jobs in order of their energy, the largest first."""
        cards: defaultdict[int, list[Values]] = defaultdict(list)
        for (party, _), measures in self._spent.items():
            cards[party].append(measures)
        jobs = [
            JobShare(*self._names.jobs[party - FIRST_JOB], ", ".join(sorted(self._names.classes[party - FIRST_JOB])), _share(of))
            for party, of in cards.items() if party >= FIRST_JOB
        ]
        counters_j = self._joined_j + sum(high_j - low_j for low_j, high_j in self._counters.values())
        jobs.sort(key=lambda job: (-round(job.share.energy_j), job.job_id, job.user))
        return Account(
            self._first_ns, self._last_ns, len(self._last), tuple(jobs),
            _share(cards[IDLE]), _share(cards[NOT_KNOWN]), counters_j, self._unread_s,
        )


def _share(cards: Iterable[Values]) -> Share:
    each = np.array(list(cards)).reshape(-1, len(MEASURES))
    sums = dict(zip(MEASURES, map(float, each.sum(0)), strict=True))
    timed = each[each[:, _AT["seconds"]] > 0]  # of a gap of weeks only the energy is counted
    ratios = timed[:, _AT["most"]] / timed[:, _AT["seconds"]]
    return Share(
        len(each), sums["seconds"], sums["energy_j"], sums["power_j"], sums["capped"], sums["held"], sums["unmeasured"],
        sums["least"] / sums["seconds"] if sums["seconds"] else 0.0, float(ratios.max(initial=0.0)),
    )
