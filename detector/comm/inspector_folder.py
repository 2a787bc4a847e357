"""A folder of NCCL Inspector's logs, one a process: `HOST-pidN.log`."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

from gpuwarden.core.nccl.fields import Bad
from gpuwarden.core.nccl.inspector import MOST_BYTES, Done, read
from gpuwarden.detector.comm.timings import Timings

PATTERN: Final = "*-pid*.log"


@dataclass(slots=True)
class Logs:
    """`refused`: the first reason of each file with lines that could not be read, and how many. A last line that is cut short counts as not yet written."""

    timings: Timings = field(default_factory=Timings)
    files: int = 0
    operations: int = 0
    refused: dict[str, str] = field(default_factory=dict)


def logs_in(folder: Path) -> Logs:
    """Raises OSError where the folder cannot be read."""
    logs = Logs()
    for file in sorted(folder.glob(PATTERN)):
        bad = Counter[str]()
        try:
            with file.open("rb") as opened:
                logs.timings.take(_counted(_done(opened, bad), logs))
        except OSError as why:
            bad[str(why)] += 1
        logs.files += 1
        if bad:
            logs.refused[file.name] = _said(bad)
    return logs


def _done(opened: BinaryIO, bad: Counter[str]) -> Iterator[Done]:
    while line := opened.readline(MOST_BYTES + 1):
        whole = line.endswith(b"\n")
        if not whole and len(line) <= MOST_BYTES:
            return
        while not whole:  # of a line that is too long, the rest
            rest = opened.readline(MOST_BYTES + 1)
            whole = not rest or rest.endswith(b"\n")
        try:
            if line.strip() and (done := read(line)) is not None:
                yield done
        except Bad as why:
            bad[str(why)] += 1


def _counted(lines: Iterator[Done], logs: Logs) -> Iterator[Done]:
    for line in lines:
        logs.operations += 1
        yield line


def _said(bad: Mapping[str, int]) -> str:
    first, count = next(iter(bad)), sum(bad.values())
    return first if count == 1 else f"{first} (and {count - 1} more lines)"
