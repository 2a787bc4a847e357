"""Minutes of the nodes that this detector hears, for all detectors of its group: a job's nodes are split among them, and judged beside each other.

What is told of a minute is what history makes of the same telemetry (`gather.py`), of the metrics that nodes are compared by.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gpuwarden.detector.events import PublishSummaries
from gpuwarden.detector.health.features import COLUMN_OF
from gpuwarden.detector.health.gather import NEVER, OPEN
from gpuwarden.detector.health.live import GRACE_NS
from gpuwarden.detector.health.nodes import Minutes, Places
from gpuwarden.detector.health.readings import CARDS, OF_HOSTS, READ_OF_CARDS
from gpuwarden.detector.past.piece import MINUTE_NS, Integers
from gpuwarden.proto.catalogue import BY_NAME, Device
from gpuwarden.proto.decode import Matrix, Sample
from gpuwarden.proto.decode_scores import SCORES_VERSION
from gpuwarden.proto.scores_pb2 import MinuteSummaries, NodeMinute

FIRST_ROWS: Final = 16
AT_ONCE: Final = 500  # nodes in a record: some 300 kB, and the bus takes 1 MB
BEHIND_MINUTES: Final = 15  # a node whose clock is so far behind the others' is not waited for
IDLE_TICKS: Final = 3  # minutes without any telemetry, until there is none to come of the past either, as there may be just after a start
_CARD_AT: Final = np.array([[COLUMN_OF[f"{metric}[{card}]"] for metric in READ_OF_CARDS] for card in range(CARDS)])
_HOST_AT: Final = np.array([COLUMN_OF[reading.metric] for reading in OF_HOSTS])
_CARD_METRICS: Final = [BY_NAME[metric].number for metric in READ_OF_CARDS]
_HOST_METRICS: Final = [BY_NAME[reading.metric].number for reading in OF_HOSTS]


@dataclass(frozen=True, slots=True)
class RoomSetup:
    """`group`: of all detectors whose nodes are judged beside each other; `start` is another one at each start of each. `budget` in findings a node and day."""

    group: str
    start: str
    budget: float = 0.1


class Summaries:
    """Rows are nodes, given out and taken back. Two minutes of each are open at a time."""

    def __init__(self, setup: RoomSetup, cards_of: Callable[[str], tuple[str, ...]]) -> None:
        """`cards_of`: where a node's cards were as another detector told of it; empty if none did."""
        self._setup, self._cards_of = setup, cards_of
        self._minutes = Minutes([""] * FIRST_ROWS, [()] * FIRST_ROWS)
        self._minutes.row_of.clear()
        self._free = list(range(FIRST_ROWS - 1, -1, -1))
        self._names = [""] * FIRST_ROWS
        self._cards: list[tuple[str, ...]] = [()] * FIRST_ROWS
        self._jobs: list[list[tuple[int, str]]] = [[(NEVER, "")] * FIRST_ROWS for _ in range(OPEN)]  # minute and job
        self._heard: NDArray[np.bool_] = np.zeros(FIRST_ROWS, np.bool_)  # since the last tick of a minute
        self._sequence = self._told = self._unix_ns = self._idle = 0
        self._ticked: int | None = None

    def take(self, samples: Sequence[Sample]) -> Iterator[PublishSummaries]:
        """A round: one sample of each node at most. Where telemetry comes faster than time minutes are told at once."""
        for sample in samples:
            self._seat(sample)
        mine, rows, unix_ns = self._minutes.known(samples)
        self._minutes.set_back(rows, unix_ns)
        if self._minutes.in_the_way(rows, unix_ns):
            until = self._minutes.newest.copy()
            until[rows] = np.maximum(until[rows], unix_ns // MINUTE_NS)
            yield from self._tell(until)
        self._minutes.take(mine, rows, unix_ns)
        self._heard[rows] = True
        for sample, row, minute in zip(mine, rows.tolist(), (unix_ns // MINUTE_NS).tolist(), strict=True):
            self._note_job(sample, row, minute)

    def tick(self, unix_ns: int) -> Iterator[PublishSummaries]:
        """Once a minute all that is over is told; and the first time that this detector is there, which is where the past ends for it."""
        minute = (unix_ns - GRACE_NS) // MINUTE_NS
        self._unix_ns = unix_ns
        if self._ticked is None:
            yield self._record(np.empty(0, np.intp), np.empty(0, np.intp))
        elif minute != self._ticked:
            self._idle = 0 if self._heard.any() else self._idle + 1
            if self._idle >= IDLE_TICKS:
                self._told = max(self._told, minute - 1)
            yield from self._tell(self._minutes.newest)
            self._heard[:] = False
        self._ticked = minute

    def forget(self, node: str) -> None:
        row = self._minutes.row_of.pop(node, None)
        if row is not None:
            self._minutes.forget(np.array([row]))
            self._names[row], self._heard[row] = "", False
            self._free.append(row)

    def _seat(self, sample: Sample) -> None:
        """Gives a new node a row, and each card its place, where it stays."""
        ids = next((readings.ids for readings in sample.readings if readings.device is Device.GPU), ())
        row = self._minutes.row_of.get(sample.node)
        if row is None:
            row = self._row()
            self._names[row], self._cards[row] = sample.node, self._cards_of(sample.node)
            self._minutes.add(row, sample.node, self._cards[row])
        cards = self._cards[row]
        if len(cards) < CARDS or not set(ids) <= set(cards):
            seated = _seated(cards, ids)
            if seated != cards:
                self._cards[row] = seated
                self._minutes.seat(row, seated)

    def _row(self) -> int:
        if not self._free:
            rows, more = 2 * len(self._names), len(self._names)
            self._minutes.grow(rows)
            self._free = list(range(rows - 1, more - 1, -1))
            self._names += [""] * more
            self._cards += [()] * more
            for jobs in self._jobs:
                jobs += [(NEVER, "")] * more
            self._heard = np.pad(self._heard, (0, more))
        return self._free.pop()

    def _note_job(self, sample: Sample, row: int, minute: int) -> None:
        """The newest of the minute: processes come and go as a job begins anew."""
        if job := _job_of(sample):
            self._jobs[minute % OPEN][row] = minute, job

    def _tell(self, until: Integers) -> Iterator[PublishSummaries]:
        """Each node's minutes before `until`, and how far all of them are."""
        before, sent = self._told, self._sequence
        while len((pending := self._minutes.pending(until))[1]):
            place, rows = pending
            for first in range(0, len(rows), AT_ONCE):
                yield self._record(place[first : first + AT_ONCE], rows[first : first + AT_ONCE])
        self._told = max(self._told, self._all_told())
        if self._told > before or self._sequence == sent:
            yield self._record(np.empty(0, np.intp), np.empty(0, np.intp))

    def _all_told(self) -> int:
        """The minute before the one that the last of those heard lately is in."""
        newest = self._minutes.newest[self._heard]
        newest = newest[newest != NEVER]
        if not len(newest):
            return 0
        return int(newest[newest >= np.median(newest) - BEHIND_MINUTES].min()) - 1

    def _record(self, place: Places, rows: Places) -> PublishSummaries:
        minutes = self._minutes.begun[place, rows]
        values: Matrix = self._minutes.out(place, rows)
        jobs = [self._jobs[at][row] for at, row in zip(place.tolist(), rows.tolist(), strict=True)]
        nodes = [
            NodeMinute(node=self._names[row], minute=minute, job_id=job if minute == of else "", cards=self._cards[row])
            for row, minute, (of, job) in zip(rows.tolist(), minutes.tolist(), jobs, strict=True)
        ]
        self._sequence += 1
        said = MinuteSummaries(
            version=SCORES_VERSION, detector_start=self._setup.start, sequence=self._sequence, unix_ns=self._unix_ns, told_minute=self._told, nodes=nodes,
            card_metrics=_CARD_METRICS, host_metrics=_HOST_METRICS, cards=_bytes(values[:, _CARD_AT]), hosts=_bytes(values[:, _HOST_AT]),
        )  # fmt: skip
        return PublishSummaries(self._setup.group, said.SerializeToString(deterministic=True))


def _bytes(values: NDArray[np.float32]) -> bytes:
    return values.astype("<f4").tobytes()


def _job_of(sample: Sample) -> str:
    """The only one that runs there, or empty."""
    jobs = {process.job_id for process in sample.processes} - {""}
    return jobs.pop() if len(jobs) == 1 else ""


def _seated(cards: tuple[str, ...], ids: tuple[str, ...]) -> tuple[str, ...]:
    """New ones after those that are known; where there is no room, in place of one that is gone."""
    seated = list(cards)
    for card in ids:
        if card in seated:
            continue
        if len(seated) < CARDS:
            seated.append(card)
        elif gone := [at for at, one in enumerate(seated) if one not in ids]:
            seated[gone[0]] = card
    return tuple(seated)
