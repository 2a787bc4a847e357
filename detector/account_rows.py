"""Rows of a history as numbers that can be sorted and added up."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]  # has no types
import pyarrow.compute as pc  # type: ignore[import-untyped]  # has no types
from numpy.typing import NDArray

from gpuwarden.detector.account_read import METRICS
from gpuwarden.detector.cap_cost import LOWEST, Values, lost
from gpuwarden.detector.history_jobs import JOBS, Job

Rows = NDArray[Any]
Numbers = NDArray[np.int64]
POWER_CAP: Final = 0x4  # nvml.h: nvmlClocksEventReasonSwPowerCap
NOT_KNOWN, IDLE = 0, 1  # who holds a card, besides jobs, which count from 2
FIRST_JOB: Final = 2

ROW: Final = np.dtype([
    ("card", np.int64), ("start", np.int64), ("sequence", np.uint64), ("unix_ns", np.uint64),
    ("counter_j", np.float64), ("since_load_j", np.float64), ("power_w", np.float64), ("holders", np.int64),
    ("capped", np.float64), ("held", np.float64), ("least", np.float64), ("most", np.float64), ("unmeasured", np.float64),
])
"""One reading of one card. `holders` is a number of Names; capped to unmeasured are shares of time, 0 to 1.

capped: the limit in force is ours and below the default; held: and the card said that it held it back; least and most: time lost by
that (`cap_cost`); unmeasured: under a limit below all that was measured.
"""


class Names:
    """Numbers for cards, starts of an agent, jobs, and sets of jobs that have a card together.

    A job is an id and a user: torchrun gives the id `none` to whoever names no run.
    """

    def __init__(self) -> None:
        self.jobs: list[tuple[str, str]] = []  # (id, user); number FIRST_JOB and on
        self.classes: list[set[str]] = []
        self.holders: list[tuple[int, ...]] = []
        self._numbers: dict[object, int] = {}
        for nobody in (NOT_KNOWN, IDLE):
            self._together((nobody,))

    def rows(self, table: pa.Table) -> Rows:
        """A part as `account_read` gives it, as (rows,) of ROW."""
        rows = np.zeros(table.num_rows, ROW)
        column = {name: table.column(name).combine_chunks() for name in table.column_names}
        rows["card"] = self._numbered(column["node"], column["device_id"])
        rows["start"] = self._numbered(column["agent_start"])
        rows["sequence"], rows["unix_ns"] = (column[name].to_numpy(zero_copy_only=False) for name in ("sequence", "unix_ns"))
        rows["counter_j"], rows["since_load_j"], rows["power_w"] = (_metric(column[name]) for name in METRICS[:3])
        rows["since_load_j"][np.isnan(rows["counter_j"])] = np.nan
        rows["holders"] = self._holders(column[JOBS])
        _fill_caps(rows, *(_metric(column[name]) for name in METRICS[3:]))
        return rows

    def _numbered(self, *columns: pa.Array) -> Numbers:
        names, which = _distinct(columns)
        return np.array([self._number(name) for name in names], np.int64)[which]

    def _number(self, name: object) -> int:
        return self._numbers.setdefault(name, len(self._numbers))

    def _holders(self, lists: pa.Array) -> Numbers:
        """Of each row. Its few different sets of jobs are looked at one by one, the many rows that have one job are not."""
        jobs = lists.flatten()
        names, which = _distinct([pc.fill_null(jobs.field(name), "") for name in Job._fields])
        parties = np.array([self._job(Job(*name)) for name in names], np.int64)[which]
        count = pc.fill_null(pc.list_value_length(lists), -1).to_numpy(zero_copy_only=False).astype(np.int64)
        first = np.cumsum(np.maximum(count, 0)) - np.maximum(count, 0)
        made = np.where(count == 0, IDLE, NOT_KNOWN)
        alone = count == 1
        different, which = np.unique(parties[first[alone]], return_inverse=True)
        made[alone] = np.array([self._together((int(party),)) for party in different], np.int64)[which]
        for row in np.flatnonzero(count > 1):
            made[row] = self._together(tuple(sorted({*parties[first[row] : first[row] + count[row]].tolist()})))
        return made

    def _job(self, job: Job) -> int:
        number = self._numbers.get(("job", job.job_id, job.user))
        if number is None:
            number = self._numbers["job", job.job_id, job.user] = FIRST_JOB + len(self.jobs)
            self.jobs.append((job.job_id, job.user))
            self.classes.append(set())
        self.classes[number - FIRST_JOB].update(filter(None, [job.job_class]))
        return number

    def _together(self, parties: tuple[int, ...]) -> int:
        number = self._numbers.get(parties)
        if number is None:
            number = self._numbers[parties] = len(self.holders)
            self.holders.append(parties)
        return number

    def common(self, before: int, after: int) -> int:
        """The set of jobs that are in both sets; NOT_KNOWN if none is."""
        both = set(self.holders[before]) & set(self.holders[after]) - {NOT_KNOWN, IDLE}
        return self._together(tuple(sorted(both))) if both else NOT_KNOWN


def _distinct(columns: Sequence[pa.Array]) -> tuple[list[tuple[str, ...]], Numbers]:
    """The different rows of some columns of text without nulls, sorted, and for each row which of them it is.

    Sorted, so that the numbers they get do not depend on the order of rows and files.
    """
    coded = [column.dictionary_encode() for column in columns]
    key = np.zeros(len(columns[0]), np.int64)
    for one in coded:
        key = key * max(len(one.dictionary), 1) + one.indices.to_numpy(zero_copy_only=False)
    _, first, which = np.unique(key, return_index=True, return_inverse=True)
    names = list(zip(*(one.take(pa.array(first)).to_pylist() for one in coded), strict=True))
    order = sorted(range(len(names)), key=names.__getitem__)
    place = np.empty(len(names), np.int64)
    place[order] = np.arange(len(names))
    return [names[i] for i in order], place[which]


def _metric(column: pa.Array) -> Values:
    """NaN where there is no reading."""
    return np.asarray(column.to_numpy(zero_copy_only=False), np.float64)


def _fill_caps(rows: Rows, ours: Values, reasons: Values, limit_w: Values, default_w: Values) -> None:
    """A card that does not say whether its limit holds it back may have lost nothing, or all."""
    capped, told = ours == 1, ~np.isnan(reasons)
    held = capped & told & (np.nan_to_num(reasons).clip(0, 2**32).astype(np.int64) & POWER_CAP != 0)
    ratio = np.where(capped & (limit_w > 0) & (default_w > 0), limit_w / np.where(default_w > 0, default_w, 1), 1.0)
    cost = lost(ratio)
    rows["capped"], rows["held"] = capped, held
    rows["least"], rows["most"] = np.where(held, cost.least, 0), np.where(held | (capped & ~told), cost.most, 0)
    rows["unmeasured"] = (ratio < LOWEST) & (rows["most"] > 0)
