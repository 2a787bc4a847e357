"""Files that grow while they are read, as a log does: whole lines, in bounded memory. A file is known by its inode, so a new one under an old name is another."""

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from prometheus_client import Counter

PASS_BYTES: Final = 8 << 20  # that are read in one pass, of all files
BEHIND_BYTES: Final = 64 << 20  # of one file; what is farther behind is passed over
MOST_FILES: Final = 256

SKIPPED: Final = Counter("gpuwarden_agent_log_bytes_skipped_total", "Bytes of followed logs that were passed over: more came than is read, or a line was too long")


class Grown(NamedTuple):
    """Whole lines that came, without their ends. `too_long`: lines that were left out."""

    path: Path
    lines: list[bytes]
    too_long: int


@dataclass(slots=True)
class _Open:
    """`cut`: in the middle of a line that is not read."""

    path: Path
    descriptor: int
    at: int = 0
    rest: bytes = b""
    cut: bool = False


class Tail:
    """Those that are there at the first look are read from their end on, later ones from their beginning."""

    def __init__(self, most_line_bytes: int) -> None:
        self._most_line_bytes, self._looked = most_line_bytes, False
        self._open = dict[tuple[int, int], _Open]()

    def grown(self, files: Iterable[Path]) -> Iterator[Grown]:
        """Of `files`, all that are there now, and the last of those that are not any more. What is no plain file is passed over."""
        there = set[tuple[int, int]]()
        for path in files:
            if (key := self._opened(path)) is not None:
                there.add(key)
        self._looked, share = True, PASS_BYTES // max(1, len(self._open))  # no file keeps the others waiting
        for key, one in list(self._open.items()):
            grown = self._read(one, share)
            if grown.lines or grown.too_long:
                yield grown
            if key not in there and one.at >= os.fstat(one.descriptor).st_size:
                os.close(self._open.pop(key).descriptor)

    def close(self) -> None:
        for one in self._open.values():
            os.close(one.descriptor)
        self._open.clear()

    def _opened(self, path: Path) -> tuple[int, int] | None:
        """Never follows a link, nor waits for a pipe: anybody may write into the folder."""
        try:
            found = os.lstat(path)
            key = found.st_dev, found.st_ino
            if key in self._open:
                self._open[key].path = path
                return key
            if not stat.S_ISREG(found.st_mode) or len(self._open) >= MOST_FILES:
                return None
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        found = os.fstat(descriptor)
        key = found.st_dev, found.st_ino
        if not stat.S_ISREG(found.st_mode) or key in self._open:
            os.close(descriptor)
            return None
        self._open[key] = _Open(path, descriptor)
        if not self._looked:
            self._to_end(self._open[key], found.st_size)
        return key

    def _to_end(self, one: _Open, size: int) -> None:
        one.at, one.rest = size, b""
        one.cut = size > 0 and os.pread(one.descriptor, 1, size - 1) != b"\n"

    def _read(self, one: _Open, most_bytes: int) -> Grown:
        size = os.fstat(one.descriptor).st_size
        if size < one.at:  # begun anew
            one.at, one.rest, one.cut = 0, b"", False
        if size - one.at > BEHIND_BYTES:
            SKIPPED.inc(size - one.at)
            self._to_end(one, size)
        came = os.pread(one.descriptor, max(0, min(most_bytes, size - one.at)), one.at)
        one.at += len(came)
        return self._lines(one, came)

    def _lines(self, one: _Open, came: bytes) -> Grown:
        too_long = 0
        if one.cut:
            passed, ended, came = came.partition(b"\n")
            SKIPPED.inc(len(passed))
            one.cut = not ended
        *lines, one.rest = (one.rest + came).split(b"\n")
        if len(one.rest) > self._most_line_bytes:
            SKIPPED.inc(len(one.rest))
            one.rest, one.cut, too_long = b"", True, 1
        short = [line for line in lines if len(line) <= self._most_line_bytes]
        return Grown(one.path, short, too_long + len(lines) - len(short))
