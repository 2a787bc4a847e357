"""Minutes of a room as its detectors tell them, until each is whole. All decided by what the records say in their one order, so by all who read them alike."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gpuwarden.proto.decode_scores import Summaries

SILENT_NS: Final = 150_000_000_000  # by the others' clocks, until a detector is waited for no more: it speaks once a minute
MOST_OPEN: Final = 30  # minutes, while detectors catch up; then the oldest is over
MOST_DETECTORS: Final = 1000


@dataclass(slots=True)
class _Teller:
    """One start of a detector."""

    sequence: int
    unix_ns: int
    told_minute: int


@dataclass(frozen=True, slots=True)
class Told:
    """What was told of one node's minute: `values` (columns,)."""

    job: str
    cards: tuple[str, ...]
    values: NDArray[np.float32]


class OpenMinutes:
    """Mutable. `late` and `repeated` count nodes' minutes that were not taken, `records_repeated` records."""

    def __init__(self) -> None:
        self._tellers: dict[str, _Teller] = {}
        self._open: dict[int, dict[str, Told]] = {}
        self._clock_ns = self._closed = 0
        self.late = self.repeated = self.records_repeated = 0

    @property
    def detectors(self) -> int:
        """That are waited for."""
        return len(self._tellers)

    def take(self, told: Summaries, values: NDArray[np.float32]) -> Iterator[tuple[int, dict[str, Told]]]:
        """Values (nodes, columns). Gives minutes that are whole by this record, each once and in their order."""
        teller = self._tellers.get(told.detector_start)
        if teller is not None and told.sequence <= teller.sequence:
            self.records_repeated += 1
            return
        promised = max(told.told_minute, teller.told_minute if teller is not None else 0)
        self._tellers[told.detector_start] = _Teller(told.sequence, told.unix_ns, promised)
        self._clock_ns = max(self._clock_ns, told.unix_ns)
        for node, row in zip(told.nodes, values, strict=True):
            self._put(node.minute, node.node, Told(node.job_id, tuple(node.cards), row))
        self._drop_silent()
        while self._open and self._over(minute := min(self._open)):
            self._closed = minute
            yield minute, self._open.pop(minute)

    def _put(self, minute: int, node: str, told: Told) -> None:
        if minute <= self._closed:
            self.late += 1
        elif node in (nodes := self._open.setdefault(minute, {})):
            self.repeated += 1
        else:
            nodes[node] = told

    def _over(self, minute: int) -> bool:
        promised = [teller.told_minute for teller in self._tellers.values() if teller.told_minute]
        return minute <= min(promised, default=0) or minute <= max(self._open) - MOST_OPEN

    def _drop_silent(self) -> None:
        gone = [start for start, teller in self._tellers.items() if self._clock_ns - teller.unix_ns > SILENT_NS]
        by_age = sorted(self._tellers, key=lambda start: self._tellers[start].unix_ns)
        for start in {*gone, *by_age[: max(0, len(by_age) - MOST_DETECTORS)]}:
            del self._tellers[start]
