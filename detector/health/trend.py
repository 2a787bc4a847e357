"""The last hour of each node's score, a value a minute: what a finding shows of how it came."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from gpuwarden.detector.health.others import Numbers
from gpuwarden.detector.past.piece import Integers
from gpuwarden.proto.finding_pb2 import Trend

MINUTES: Final = 60
_NEVER: Final = -1


class Trends:
    """By row and minute, in a ring. Each value knows its minute: what a gap or a clock that was set leaves standing is of none that is asked for."""

    def __init__(self, rows: int) -> None:
        self._values = np.full((rows, MINUTES), np.nan, np.float32)
        self._minutes = np.full((rows, MINUTES), _NEVER, np.int32)

    def note(self, rows: Numbers, minute: Integers | int, values: NDArray[np.float64]) -> None:
        """One minute of each of `rows`; NaN where nothing could be said."""
        at = minute % MINUTES
        self._values[rows, at], self._minutes[rows, at] = values, minute

    def forget(self, rows: Numbers) -> None:
        self._minutes[rows] = _NEVER

    def put(self, rows: Numbers, other: "Trends", others: Numbers) -> None:
        """What another one knows of its rows `others` is known of `rows`."""
        self._values[rows], self._minutes[rows] = other._values[others], other._minutes[others]

    def until(self, row: int, minute: int) -> NDArray[np.float32]:
        """(MINUTES,), the last one of `minute`."""
        wanted = np.arange(minute - MINUTES + 1, minute + 1)
        at = wanted % MINUTES
        return np.where(self._minutes[row, at] == wanted, self._values[row, at], np.float32(np.nan))


def trend(name: str, values: NDArray[np.float32], threshold: float, until_unix_ns: int) -> Trend:
    """Of a finding, without the minutes before anything was known."""
    known = np.flatnonzero(~np.isnan(values))
    told = values[known[0] :] if len(known) else values[:0]
    return Trend(name=name, values=told.tolist(), threshold=threshold, until_unix_ns=until_unix_ns)
