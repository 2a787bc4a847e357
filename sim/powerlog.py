"""A recorded power log as a load: CSV or CSV.gz with the columns node, time_s, power_w, in any order of rows.

A node's power holds from one of its rows to the next. What exceeds the host's part is what its GPUs want; that part may be capped.
"""

import csv
import gzip
import math
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO

import numpy as np
from numpy.typing import NDArray

from gpuwarden.sim.plant import IDLE_W, Watts

COLUMNS: Final = ("node", "time_s", "power_w")
HOLE_S: Final = 10.0  # a node without a row for longer is silent there
HIGHEST_W: Final = 1e6


class BadPowerLog(ValueError):
    """The file cannot be used: file, line, column and what is wrong."""


@dataclass(frozen=True, slots=True)
class PowerLog:
    """Rows in order of time. `index` is into `nodes`; `time_s` counts from the first row."""

    nodes: tuple[str, ...]
    time_s: Watts
    index: NDArray[np.int64]
    power_w: Watts
    holes: int

    @property
    def duration_s(self) -> float:
        return float(self.time_s[-1])

    def peak_w(self) -> float:
        """Highest sum over the nodes, each holding its last row."""
        last_w, peak_w = np.zeros(len(self.nodes)), 0.0
        for node, power_w in zip(self.index, self.power_w, strict=True):
            last_w[node] = power_w
            peak_w = max(peak_w, float(last_w.sum()))
        return peak_w

    def until(self, end_s: float) -> "PowerLog":
        """The rows up to `end_s`."""
        keep = int(np.searchsorted(self.time_s, end_s, side="right"))
        return PowerLog(self.nodes, self.time_s[:keep], self.index[:keep], self.power_w[:keep], self.holes)


def read(path: Path) -> PowerLog:
    """The log, or BadPowerLog."""
    try:
        with _opened(path) as text:
            rows = sorted(_rows(path, csv.reader(text)), key=lambda row: (row[1], row[0]))
    except OSError as why:
        raise BadPowerLog(f"{path}: {why.strerror or why}") from None
    except (EOFError, UnicodeDecodeError, csv.Error, zlib.error) as why:
        raise BadPowerLog(f"{path}: {why}") from None
    if not rows:
        raise BadPowerLog(f"{path}: has no rows")
    nodes = tuple(sorted({node for node, _, _ in rows}, key=lambda name: (len(name), name)))
    place = {node: number for number, node in enumerate(nodes)}
    first_s = rows[0][1]
    time_s = np.array([time_s - first_s for _, time_s, _ in rows])
    index = np.array([place[node] for node, _, _ in rows])
    return PowerLog(nodes, time_s, index, np.array([power_w for _, _, power_w in rows]), _holes(index, time_s, len(nodes)))


def _opened(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8", newline="")
    return path.open(encoding="utf-8", newline="")


def _rows(path: Path, lines: Iterator[list[str]]) -> Iterator[tuple[str, float, float]]:
    header = next(lines, [])
    if missing := [name for name in COLUMNS if name not in header]:
        raise BadPowerLog(f"{path}:1: the column {missing[0]} is missing; the columns are {', '.join(header) or 'none'}")
    seen: set[tuple[str, float]] = set()
    for number, line in enumerate(lines, 2):
        if len(line) != len(header):
            raise BadPowerLog(f"{path}:{number}: has {len(line)} fields, the header has {len(header)}")
        fields = dict(zip(header, line, strict=True))
        node = fields["node"]
        time_s, power_w = (_number(path, number, name, fields) for name in COLUMNS[1:])
        if not node:
            raise BadPowerLog(f"{path}:{number}: node: is empty")
        if not 0 <= power_w <= HIGHEST_W:
            raise BadPowerLog(f"{path}:{number}: power_w: is {power_w:g}, should be 0 to {HIGHEST_W:g}")
        if (node, time_s) in seen:
            raise BadPowerLog(f"{path}:{number}: time_s: node {node!r} has a row for {time_s:g} already")
        seen.add((node, time_s))
        yield node, time_s, power_w


def _number(path: Path, number: int, name: str, fields: Mapping[str, str]) -> float:
    try:
        value = float(fields[name])
    except ValueError:
        raise BadPowerLog(f"{path}:{number}: {name}: {fields[name]!r} is not a number") from None
    if not math.isfinite(value):
        raise BadPowerLog(f"{path}:{number}: {name}: is {value:g}")
    return value


def _holes(index: NDArray[np.int64], time_s: Watts, nodes: int) -> int:
    """How often a node has no row for longer than HOLE_S between two of its own."""
    last_s, holes = np.full(nodes, np.nan), 0
    for node, now_s in zip(index, time_s, strict=True):
        holes += bool(now_s - last_s[node] > HOLE_S)
        last_s[node] = now_s
    return holes


class RecordedLoad:
    """The log's nodes under the log's load."""

    def __init__(self, log: PowerLog, gpus: int, host_w: float, slope: float) -> None:
        self.nodes, self.gpus, self._log, self._slope = log.nodes, gpus, log, slope
        lowest_w = [log.power_w[log.index == node].min() for node in range(len(log.nodes))]
        self.host_w: Watts = np.minimum(host_w, np.array(lowest_w))  # a node that drew less has a smaller host
        self._demand_w = np.full((len(log.nodes), gpus), IDLE_W)
        self._next = 0

    @property
    def duration_s(self) -> float:
        return self._log.duration_s

    @property
    def holes(self) -> int:
        return self._log.holes

    def demands_w(self, now_s: float) -> Watts:
        log = self._log
        while self._next < len(log.time_s) and log.time_s[self._next] <= now_s:
            node = log.index[self._next]
            gpus_w = max(0.0, log.power_w[self._next] - self.host_w[node]) / self._slope
            self._demand_w[node] = gpus_w / self.gpus
            self._next += 1
        return self._demand_w

    def samples(self) -> Iterator[tuple[float, int]]:
        """One for each row."""
        return zip(self._log.time_s.tolist(), self._log.index.tolist(), strict=True)
