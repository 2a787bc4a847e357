"""Numbers of records as columns: thousands of nodes are read at every decision, and to fetch each of them is most of what that takes.

A record's number stands in the record's row alone, and rows lie side by side, so that no column can be older than the record.
"""

from typing import Final, Protocol, overload

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]


class HasRow(Protocol):
    row: Numbers


class Column:
    """An attribute of records: a number that stands in their rows. The class counts its columns from 0 on."""

    def __init__(self, place: int, beginning: float) -> None:
        self.place: Final = place
        self.beginning: Final = beginning

    @overload
    def __get__(self, record: None, owner: type) -> "Column": ...
    @overload
    def __get__(self, record: HasRow, owner: type) -> float: ...
    def __get__(self, record: HasRow | None, owner: type) -> "Column | float":
        return self if record is None else record.row.item(self.place)

    def __set__(self, record: HasRow, value: float) -> None:
        record.row[self.place] = value

    def of(self, rows: Numbers) -> Numbers:
        """One number a record, as they are now."""
        column: Numbers = rows[self.place].copy()
        return column

    def write(self, rows: Numbers, values: Numbers) -> None:
        """One number a record."""
        rows[self.place] = values


def columns_of(owner: type) -> tuple[Column, ...]:
    """Those of a class in the order of their places."""
    found = tuple(value for base in reversed(owner.__mro__) for value in vars(base).values() if isinstance(value, Column))
    assert [column.place for column in found] == list(range(len(found))), owner
    return found


def beginnings(owner: type, count: int) -> Numbers:
    """Rows for so many records, side by side: (columns, records)."""
    return np.repeat([[column.beginning] for column in columns_of(owner)], count, axis=1)

