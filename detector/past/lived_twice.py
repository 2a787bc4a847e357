"""Which minutes a node lived twice, because its clock was set back: their means and rates would be of two times at once.

Within a start of the agent sequence numbers grow with time as it passes. A minute whose numbers run from below to above those of another
one, two minutes away or more, was there before and after. Nearer ones may be of a collector that was late (`detector/node.py`), so that a
clock set back by less than two minutes is not noticed.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from gpuwarden.detector.past.piece import Heads, Integers

APART: Final = 2


def lived_twice(heads: Heads) -> Integers:
    """The minutes, of one node's heads, ascending. O(n log n), and more only where clocks were set."""
    found = [_of_start(heads.minute[mine], heads.low[mine], heads.high[mine]) for mine in _starts(heads.start)]
    return np.unique(np.concatenate(found)) if found else np.empty(0, np.int64)


def _starts(start: Integers) -> list[NDArray[np.intp]]:
    _, number = np.unique(start, return_inverse=True)
    order = np.argsort(number, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(number[order])) + 1)


def _of_start(minute: Integers, low: Integers, high: Integers) -> Integers:
    ends, of = np.concatenate([low, high]), np.concatenate([minute, minute])
    order = np.argsort(ends, kind="stable")
    ends, of = ends[order], of[order]
    after, before = np.searchsorted(ends, low, "right"), np.searchsorted(ends, high, "left")
    suspects = np.flatnonzero(before > after)
    twice = [i for i in suspects if (np.abs(of[after[i] : before[i]] - minute[i]) >= APART).any()]
    return minute[np.array(twice, np.intp)]
