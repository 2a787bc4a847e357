"""How late each rank comes to each kind of collective, and what it spends outside of all of them, beside those that do the same.

The last to come waits least, so who is late has the shorter times (C4D). What a process spends in collectives and in messages that it receives is
waiting or transfer; the rest is its own. All of a communicator run equally long, so who spends less there than its peers has spent more by itself, be it
late in the end or not.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from gpuwarden.core.nccl.process import Process
from gpuwarden.detector.comm.beside import MEDIAN_ERROR, Floats, of_others
from gpuwarden.detector.comm.timings import Together
from gpuwarden.detector.robust import median, spread

ALIKE: Final = ("AllReduce", "AllGather", "ReduceScatter")  # in which all ranks do the same
LEAST_OPERATIONS: Final = 20
LEAST_RANKS: Final = 0.75  # of a communicator, in an operation that counts


@dataclass(frozen=True, slots=True)
class Lateness:
    """Of communicators alike. All are (communicators, members): behind the middle of the others at each operation; the error of that; at how many more
    operations than half it was, in standard deviations of chance; what the process spent elsewhere beyond its peers, for each operation; and its own time
    beyond theirs, a share of all time."""

    of: tuple[Together, ...]
    period_us: Floats
    late_us: Floats
    error_us: Floats
    signs: Floats
    elsewhere_us: Floats
    own: Floats

    @property
    def cost(self) -> Floats:
        """Share of the time from one operation to the next."""
        return self.late_us / self.period_us[:, None]

    @property
    def every_us(self) -> float:
        return float(self.period_us.min())


def lateness_of(together: Sequence[Together], messages_us: Mapping[Process, float]) -> Iterator[Lateness]:
    """A value for each kind that can be compared."""
    spent_us = _spent_us(together, messages_us)
    alike = defaultdict[tuple[str, int, int], list[Together]](list)
    for one in together:
        if one.kind.name in ALIKE and len(one.took_us) >= LEAST_OPERATIONS and one.period_us > 0:
            alike[one.kind.name, one.kind.size_bytes, len(one.members)].append(one)
    return (_lateness(tuple(like), spent_us) for like in alike.values())


def _spent_us(together: Sequence[Together], messages_us: Mapping[Process, float]) -> Mapping[Process, tuple[int, float]]:
    """From how many sources it is known what each process spent, and how much."""
    spent = {process: (1, us) for process, us in messages_us.items()}
    for one in together:
        told = ~np.isnan(one.took_us)
        total_us = np.nansum(one.took_us, axis=0) * len(told) / np.maximum(told.sum(axis=0), 1)
        for member, us in zip(one.members, total_us.tolist(), strict=True):
            sources, before_us = spent.get(member, (0, 0.0))
            spent[member] = sources + 1, before_us + us
    return spent


def _lateness(like: tuple[Together, ...], spent_us: Mapping[Process, tuple[int, float]]) -> Lateness:
    took_us = _side_by_side(like)
    many, late_us = (~np.isnan(took_us)).sum(axis=1), of_others(took_us) - took_us
    error_us = MEDIAN_ERROR * spread(late_us, 1) / np.sqrt(np.maximum(many, 1))
    signs = (2 * np.nansum(late_us > 0, axis=1) - many) / np.sqrt(np.maximum(many, 1))
    middle_us = np.where(many < LEAST_OPERATIONS, np.nan, median(late_us, 1))
    operations = np.array([[len(one.took_us)] for one in like])
    period_us = np.array([one.period_us for one in like])
    all_us = _beside_us(like, spent_us)
    other_us = all_us - np.nansum(took_us, axis=1) * operations / np.maximum(many, 1)
    elsewhere_us = (other_us - of_others(other_us)) / operations
    own = (of_others(all_us) - all_us) / (operations * period_us[:, None])
    return Lateness(like, period_us, middle_us, error_us, signs, elsewhere_us, own)


def _side_by_side(like: Sequence[Together]) -> Floats:
    """What each operation took, (communicators, operations, members); NaN also where few of its communicator told."""
    took_us = np.full((len(like), max(len(one.took_us) for one in like), len(like[0].members)), np.nan)
    for place, one in enumerate(like):
        took_us[place, : len(one.took_us)] = one.took_us
    took_us[(~np.isnan(took_us)).mean(axis=2) < LEAST_RANKS] = np.nan
    return took_us


def _beside_us(like: Sequence[Together], spent_us: Mapping[Process, tuple[int, float]]) -> Floats:
    """What each member spent; NaN where less is known of it than of its peers."""
    rows = np.array([[spent_us[member] for member in one.members] for one in like])
    sources, us = rows[..., 0], rows[..., 1]
    return np.where(sources < np.median(sources, axis=1, keepdims=True), np.nan, us)
