"""NCCL Inspector's lines to rows: the operations of a second, by communicator, operation and size, each with its time.

A node's processes write thousands of lines a second that differ in a few numbers. What comes before and after a line's time stamp is the same in all of one communicator:
it is read, and checked, once (`core.nccl.inspector`), and the rest is matched as it stands. A line that looks another way is read whole.
"""

import re
import sys
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from gpuwarden.agent.reading import TimesRow
from gpuwarden.core.nccl.fields import Bad, shown
from gpuwarden.core.nccl.inspector import MOST_US, Done, read

MOST_KNOWN: Final = 256  # beginnings of lines, of one process
MOST_REASONS: Final = 4
MOST_APART: Final = 2**31  # numbers of a row
_STAMP, _PERF = b'"dump_timestamp_us":', b'_perf":{'
_REST: Final = {
    prefix: re.compile(
        rb'"%b":"(\w{1,32})","%b_sn":(\d{1,18}),%b"%b_msg_size_bytes":(\d{1,18}),"%b_exec_time_us":(\d{1,9})(?:,[^{}]*)?\}\}\s*' % (prefix, prefix, peer, prefix, prefix)
    )
    for prefix, peer in ((b"coll", b"()"), (b"p2p", rb'"p2p_peer":(\d{1,9}),'))
}
Key = tuple[str, int, int, str, int | None, int, int]
Exactly = tuple[bytes, bytes, bytes, bytes, bytes, bytes]
"""Of a line what is alike in all of a row: before its stamp and after it, name, peer, size, second."""


@dataclass(slots=True)
class _Row:
    done: Done
    name: str
    peer: int | None
    size: int
    dumped_us: int
    numbers: list[int] = field(default_factory=list)
    took_us: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Process:
    """One process's log. `hosts`: names of this node; a line of another host is refused. `refused` lines, and the first few reasons."""

    pid: int
    hosts: frozenset[str]
    refused: int = 0
    reasons: list[str] = field(default_factory=list)
    _known: dict[tuple[bytes, bytes], Done | str] = field(default_factory=dict)

    def rows(self, lines: Iterable[bytes]) -> tuple[TimesRow, ...]:
        found, exactly = dict[Key, _Row](), dict[Exactly, tuple[list[int], list[int]]]()
        for line in lines:
            try:
                if not self._matched(line, found, exactly) and line.strip():
                    self._whole(line, found)
            except Bad as why:
                self.refuse(str(why))
        return tuple(row for one in found.values() if (row := self._made(one)) is not None)

    def refuse(self, why: str, lines: int = 1) -> None:
        self.refused += lines
        if why not in self.reasons and len(self.reasons) < MOST_REASONS:
            self.reasons.append(why)

    def _matched(self, line: bytes, found: dict[Key, _Row], exactly: dict[Exactly, tuple[list[int], list[int]]]) -> bool:
        """Whether it looks as lines do. Quotes within a text are escaped, so what is looked for stands in none."""
        stamp, perf = line.find(_STAMP) + len(_STAMP), line.find(_PERF)
        end = line.find(b",", stamp)
        rest = _REST.get(line[line.rfind(b'"', 0, perf) + 1 : perf])
        matched = rest.fullmatch(line, perf + len(_PERF)) if rest is not None else None
        if matched is None or not len(_STAMP) <= stamp < end < perf or not line[stamp:end].isdigit():
            return False
        before, after, dumped = line[:stamp], line[end:perf], line[stamp:end]
        name, number, peer, size, took = matched.groups()
        lists = exactly.get((before, after, name, peer, size, dumped[:-6]))
        if lists is None:
            whose = self._known_by(before, after, line)
            row = self._row(found, whose, name.decode(), int(peer) if peer else None, int(size), int(dumped))
            lists = exactly[before, after, name, peer, size, dumped[:-6]] = row.numbers, row.took_us
        lists[0].append(int(number))
        lists[1].append(int(took))
        return True

    def _known_by(self, before: bytes, after: bytes, line: bytes) -> Done:
        known = self._known.get((before, after))
        if known is None:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            known = self._known[before, after] = self._first(line)
        if isinstance(known, str):
            raise Bad(known)
        return known

    def _whole(self, line: bytes, found: dict[Key, _Row]) -> None:
        done = read(line)
        if done is not None:  # such as dump_stats
            self._check(done)
            row = self._row(found, done, done.name, done.peer, done.size_bytes, done.dumped_us)
            row.numbers.append(done.number)
            row.took_us.append(min(round(done.took_us), MOST_US - 1))

    def _first(self, line: bytes) -> Done | str:
        """Or what is wrong with all that begin and end so."""
        try:
            done = read(line)
            assert done is not None, "the pattern names an operation"
            self._check(done)
        except Bad as why:
            return str(why)
        return done

    def _check(self, done: Done) -> None:
        if done.process.host.partition(".")[0] not in self.hosts:
            raise Bad(f"metadata.hostname: is {shown(done.process.host)}, which is not this node: inspector_dir has to be on the node's own disk")

    def _row(self, found: dict[Key, _Row], whose: Done, name: str, peer: int | None, size: int, dumped_us: int) -> _Row:
        bucket = 1 << (size.bit_length() - 1) if size else 0
        key = whose.communicator, whose.rank, whose.ranks, name, peer, bucket, dumped_us // 1_000_000
        row = found.get(key)
        if row is None:
            row = found[key] = _Row(whose, name, peer, bucket, dumped_us)
        return row

    def _made(self, row: _Row) -> TimesRow | None:
        done, numbers, first = row.done, row.numbers, min(row.numbers)
        if max(numbers) - first >= MOST_APART:
            self.refuse(f"sn: is {first} and {max(numbers)} in one second", len(numbers))
            return None
        one_by_one = numbers == list(range(first, first + len(numbers)))
        offsets = b"" if one_by_one else _little([number - first for number in numbers])
        return TimesRow(done.communicator, done.rank, done.ranks, row.name, row.peer, row.size, row.dumped_us, first, offsets, _little(row.took_us))


def _little(numbers: Iterable[int]) -> bytes:
    values = array("I", numbers)
    assert values.itemsize == 4
    if sys.byteorder == "big":
        values.byteswap()
    return values.tobytes()
