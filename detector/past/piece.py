"""An hour of some nodes, minute by minute: what every source of history is brought to."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpuwarden.proto.catalogue import Device
from gpuwarden.proto.decode import Matrix

MINUTE_NS: Final = 60_000_000_000
HOUR_MINUTES: Final = 60

Integers = NDArray[np.int64]
Names = NDArray[np.object_]


class Span(NamedTuple):
    """[first, end) in minutes since 1970 UTC."""

    first: int
    end: int

    @property
    def start_ns(self) -> int:
        return self.first * MINUTE_NS

    @property
    def end_ns(self) -> int:
        return self.end * MINUTE_NS


@dataclass(frozen=True, slots=True)
class Heads:
    """Of each (node, start of its agent, minute) the lowest and the highest sequence number. Arrays of one length."""

    node: Integers  # its place among the nodes that were asked for
    start: Integers  # any number that stands for it
    minute: Integers
    low: Integers
    high: Integers


def by_node(heads: Sequence[Heads], nodes: int) -> Iterator[Heads]:
    """All of each of `nodes` nodes, in their order."""
    columns = [np.concatenate([np.empty(0, np.int64), *(getattr(one, name) for one in heads)]) for name in Heads.__slots__]
    order = np.argsort(columns[0], kind="stable")
    ends = np.searchsorted(columns[0][order], np.arange(nodes), "right")
    for mine in np.split(order, ends)[:nodes]:
        yield Heads(*(column[mine] for column in columns))


@dataclass(frozen=True, slots=True)
class Minutes:
    """Of each (node, device, minute) the features of its kind: `values` is (rows, METRICS[device]), NaN where not known.

    `fell` says where a counter ended the minute lower than it began it: its rate is not known.
    """

    device: Device
    node: Integers
    device_id: Names
    minute: Integers
    values: Matrix
    fell: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Piece:
    """A node has all of an hour in one piece. `repeats`: rows that came again, as far as the source can tell.

    `done_ratio`: how much of all that was asked for has been read with it.
    """

    heads: Heads
    minutes: tuple[Minutes, ...]
    done_ratio: float
    repeats: int = 0
