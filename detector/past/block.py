"""One form of recorded history, whatever it was read from: nodes x minutes x features, and what was left out of it."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from gpuwarden.detector.past.features import FEATURES, columns
from gpuwarden.detector.past.lived_twice import lived_twice
from gpuwarden.detector.past.piece import Heads, Integers, Minutes, Piece, Span, by_node
from gpuwarden.detector.past.seats import Seats
from gpuwarden.proto.catalogue import Device, Kind
from gpuwarden.proto.decode import Matrix

MOST_BYTES: Final = 8 << 30  # of a block
Rows = NDArray[np.intp]
RATES: Final = np.array([column for column, feature in enumerate(FEATURES) if feature.metric.kind is Kind.COUNTER], np.intp)


class BadPast(ValueError):
    """History cannot be read as it was asked for: what, and why."""


class Source(Protocol):
    """Where history is read from. Raises BadPast."""

    def nodes(self, span: Span) -> list[str]:
        """Those that have any, in order."""
        ...

    def pieces(self, nodes: Sequence[str], span: Span) -> Iterator[Piece]:
        """Hour by hour, in order of time."""
        ...


@dataclass(slots=True)
class LeftOut:
    """What is not in a block, or in it and of no use."""

    empty_minutes: int = 0  # of a node, without any reading
    twice_minutes: int = 0  # of a node, lived twice since its clock was set back
    restart_minutes: int = 0  # of a node, in which its agent started anew: counters have no rate there
    falls: int = 0  # of a counter in a minute: reset, or the driver loaded anew
    repeats: int = 0  # readings of a device that came again, where the source can tell
    other_cards: Counter[str] = field(default_factory=Counter)  # beyond the eighth at once, by node
    unknown: list[str] = field(default_factory=list)  # features without a value in the block
    constant: list[str] = field(default_factory=list)  # features with one value for each node, all the time

    def figures(self) -> dict[str, Any]:
        """For JSON."""
        return {name: getattr(self, name) for name in self.__slots__} | {"other_cards": dict(self.other_cards)}


@dataclass(frozen=True, slots=True)
class Past:
    """`minutes` (n,) since 1970 UTC, each there whether known or not; `values` (nodes, n, FEATURES), NaN where nothing is known.

    `cards`: ids of each node's cards, in the order of their columns, as they were at the end.
    """

    nodes: tuple[str, ...]
    minutes: Integers
    values: Matrix
    left_out: LeftOut
    cards: tuple[tuple[str, ...], ...] = ()


def read(source: Source, span: Span, nodes: Sequence[str] | None = None, done: Callable[[float], object] = lambda ratio: None) -> Past:
    """Of `nodes`, or all there are. `done` is told after each piece which share has been read. Raises BadPast, also where the block would be too large."""
    names = tuple(sorted(set(nodes))) if nodes is not None else tuple(source.nodes(span))
    past = _empty(names, span)
    heads = list[Heads]()
    seats = [Seats() for _ in names]
    for piece in source.pieces(names, span) if names else ():
        _place(past, piece, seats)
        heads.append(piece.heads)
        done(piece.done_ratio)
    _cut(past, heads)
    _count(past, seats)
    return replace(past, cards=tuple(seat.cards for seat in seats))


def _empty(nodes: tuple[str, ...], span: Span) -> Past:
    shape = (len(nodes), span.end - span.first, len(FEATURES))
    size_bytes = math.prod(shape) * np.dtype(np.float32).itemsize
    if shape[1] < 1:
        raise BadPast(f"span: ends in minute {span.end}, should be after {span.first}")
    if size_bytes > MOST_BYTES:
        most = f"at most {MOST_BYTES >> 20} may be; ask for fewer nodes or a shorter time"
        raise BadPast(f"span: {shape[0]} nodes and {shape[1]} minutes take {size_bytes >> 20} MiB, {most}")
    return Past(nodes, np.arange(span.first, span.end), np.full(shape, np.nan, np.float32), LeftOut())


def _place(past: Past, piece: Piece, seats: Sequence[Seats]) -> None:
    past.left_out.repeats += piece.repeats
    for minutes in piece.minutes:
        past.left_out.falls += int(minutes.fell.sum())
        for node in np.unique(minutes.node).tolist():
            rows = np.flatnonzero(minutes.node == node)
            block, at = past.values[node], minutes.minute[rows] - past.minutes[0]
            if minutes.device is Device.HOST:
                block[at, columns(None)] = minutes.values[rows]
            else:
                _place_cards(block, at, minutes, rows, seats[node])


def _place_cards(block: Matrix, at: Integers, minutes: Minutes, rows: Rows, seats: Seats) -> None:
    device_id = minutes.device_id[rows]
    for name, card in seats.seat(device_id, minutes.minute[rows]):
        mine = device_id == name
        block[at[mine], columns(card)] = minutes.values[rows[mine]]


def _cut(past: Past, heads: Sequence[Heads]) -> None:
    """Takes out what is of two times, or of two starts, at once."""
    for block, mine in zip(past.values, by_node(heads, len(past.nodes)), strict=True):
        twice, restarted = lived_twice(mine) - past.minutes[0], _restarted(mine) - past.minutes[0]
        block[twice] = np.nan
        block[np.ix_(restarted, RATES)] = np.nan
        past.left_out.twice_minutes += len(twice)
        past.left_out.restart_minutes += len(restarted)


def _restarted(heads: Heads) -> Integers:
    both = np.unique(np.stack([heads.minute, heads.start]), axis=1)
    minutes, starts = np.unique(both[0], return_counts=True)
    return minutes[starts > 1]


def _count(past: Past, seats: Sequence[Seats]) -> None:
    known = ~np.isnan(past.values)
    past.left_out.empty_minutes = int((~known.any(axis=2)).sum())
    past.left_out.other_cards.update({name: len(seat.without) for name, seat in zip(past.nodes, seats, strict=True) if seat.without})
    for column, feature in enumerate(FEATURES):
        if not known[:, :, column].any():
            past.left_out.unknown.append(feature.name)
        elif _constant(past.values[:, :, column], known[:, :, column]):
            past.left_out.constant.append(feature.name)


def _constant(values: Matrix, known: NDArray[np.bool_]) -> bool:
    return all((of_node[there] == of_node[there][:1]).all() for of_node, there in zip(values, known, strict=True))
