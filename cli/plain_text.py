"""Lines for a terminal without a library: aligned columns, colour where somebody looks, nothing that moves the cursor."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

SPELLED_OUT: Final = 4
_CODES: Final = {"bold": 1, "red": 31, "green": 32, "yellow": 33, "dim": 2}


@dataclass(frozen=True, slots=True)
class Ink:
    """Colours on a terminal; anywhere else plain text."""

    on: bool

    def __call__(self, said: str, colour: str) -> str:
        return f"\x1b[{_CODES[colour]}m{said}\x1b[0m" if self.on else said


def printable(said: str) -> str:
    """What a node calls itself may not move the cursor or colour the terminal."""
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in said)


def aligned(rows: Sequence[Sequence[str]], right: Iterable[int] = ()) -> Iterator[str]:
    """The rows as lines; columns named in `right` have their ends under each other."""
    right = frozenset(right)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.rjust(width) if i in right else cell.ljust(width) for i, (cell, width) in enumerate(zip(row, widths, strict=True)))
        yield "  ".join(cells).rstrip()


def who(names: Sequence[str]) -> str:
    """`n1, n2, n3 and 5 more`."""
    if len(names) <= SPELLED_OUT:
        return ", ".join(names)
    return f"{', '.join(names[: SPELLED_OUT - 1])} and {len(names) - SPELLED_OUT + 1} more"
