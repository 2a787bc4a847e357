"""Readings into minutes as they come: the very numbers that `detector.past` makes of the same telemetry when it is history.

Two minutes of a node are open at a time, since a slow collector's readings come after newer ones. What is older comes too late.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from gpuwarden.detector.past.features import METRICS
from gpuwarden.detector.past.piece import Integers
from gpuwarden.detector.past.reduced import COUNTERS, GAUGES, SECOND_NS, rates
from gpuwarden.proto.catalogue import COLUMNS, Device
from gpuwarden.proto.decode import Matrix

OPEN: Final = 2
NEVER: Final = -1
_LATEST: Final = np.iinfo(np.int64).max

Places = NDArray[np.intp]


class Gather:
    """Of one kind of device: arrays (OPEN x rows, metrics), since one index is quicker than two. A row's minute is in the place of its parity."""

    def __init__(self, device: Device, rows: int) -> None:
        self._device = device
        read = [COLUMNS[device].index(metric) for metric in METRICS[device]]
        self._gauges, self._counters = (np.array([read[i] for i in columns[device]], np.intp) for columns in (GAUGES, COUNTERS))
        self._rows = rows
        gauges, counters = (OPEN * rows, len(self._gauges)), (OPEN * rows, len(self._counters))
        self._total, self._count = np.zeros(gauges), np.zeros(gauges, np.float32)
        self._first, self._last = np.full(counters, np.nan, np.float32), np.full(counters, np.nan, np.float32)
        self._first_ns, self._last_ns = np.full(counters, _LATEST), np.full(counters, NEVER, np.int64)

    def grow(self, rows: int) -> None:
        """To so many, more than there are."""
        old = OPEN * self._rows
        kept = (np.arange(OPEN)[:, None] * rows + np.arange(self._rows)).ravel()
        made = Gather(self._device, rows)
        for name in ("_total", "_count", "_first", "_last", "_first_ns", "_last_ns"):
            getattr(made, name)[kept] = getattr(self, name)[:old]
            setattr(self, name, getattr(made, name))
        self._rows = rows

    def clear(self, place: Places, rows: Places) -> None:
        """Their minutes begin."""
        at = place * self._rows + rows
        self._total[at], self._count[at] = 0.0, 0.0
        self._first[at], self._last[at], self._first_ns[at], self._last_ns[at] = np.nan, np.nan, _LATEST, NEVER

    def take(self, place: Places, rows: Places, unix_ns: Integers, values: Matrix) -> None:
        """Readings (rows, catalogue columns). No row may be there twice."""
        at = place * self._rows + rows
        gauges = values[:, self._gauges]
        known = ~np.isnan(gauges)
        self._total[at] += np.where(known, gauges, 0)
        self._count[at] += known
        counters, when = values[:, self._counters], unix_ns[:, None]
        told = ~np.isnan(counters)
        self._keep(self._first, self._first_ns, at, counters, when, told & (when < self._first_ns[at]))
        self._keep(self._last, self._last_ns, at, counters, when, told & (when > self._last_ns[at]))

    def _keep(self, values: Matrix, times: Integers, at: Places, new: Matrix, when: Integers, better: NDArray[np.bool_]) -> None:
        some = better.any(1)  # mostly all, of the last, and none, of the first
        if not some.all():
            at, new, when, better = at[some], new[some], when[some], better[some]
        values[at] = np.where(better, new, values[at])
        times[at] = np.where(better, when, times[at])

    def minute(self, place: Places, rows: Places) -> Matrix:
        """(rows, METRICS[device]) of what was gathered; NaN where nothing was."""
        at = place * self._rows + rows
        made = np.full((len(rows), len(METRICS[self._device])), np.nan, np.float32)
        with np.errstate(invalid="ignore", divide="ignore"):
            made[:, GAUGES[self._device]] = self._total[at] / self._count[at]
        rise = self._last[at].astype(np.float64) - self._first[at]
        made[:, COUNTERS[self._device]], _ = rates(rise, np.where(np.isnan(rise), 0, self._last_ns[at] - self._first_ns[at]) / SECOND_NS)
        return made
