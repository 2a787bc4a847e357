"""The nodes that are watched: which row each has, which of its minutes are open, and where its cards sit."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gpuwarden.detector.health.gather import NEVER, OPEN, Gather
from gpuwarden.detector.node import LATE_NS
from gpuwarden.detector.past.block import RATES
from gpuwarden.detector.past.features import CARDS, FEATURES, METRICS
from gpuwarden.detector.past.piece import MINUTE_NS, Integers
from gpuwarden.proto.catalogue import Device
from gpuwarden.proto.decode import Matrix, Sample

NOWHERE: Final = -1

Places = NDArray[np.intp]


class Minutes:
    """Rows are those of the model. Minutes are of the nodes' own clocks, since 1970 UTC."""

    def __init__(self, nodes: Sequence[str], cards: Sequence[Sequence[str]]) -> None:
        self.row_of = {name: row for row, name in enumerate(nodes)}
        self._cards = [{card: place for place, card in enumerate(of[:CARDS])} for of in cards]
        self._seats = list[tuple[tuple[str, ...], Places]]([((), np.empty(0, np.intp))] * len(nodes))
        self._gpus, self._hosts = Gather(Device.GPU, CARDS * len(nodes)), Gather(Device.HOST, len(nodes))
        self.begun: Integers = np.full((OPEN, len(nodes)), NEVER, np.int64)  # the minute that is open at each place
        self.newest: Integers = np.full(len(nodes), NEVER, np.int64)
        self._newest_ns: Integers = np.full(len(nodes), NEVER, np.int64)
        self.closed: Integers = np.full(len(nodes), NEVER, np.int64)  # the newest that was taken out
        self._start = [""] * len(nodes)
        self._mixed = np.zeros((OPEN, len(nodes)), np.bool_)  # two starts of an agent in one minute: no rates
        self.late = 0

    def add(self, row: int, name: str, cards: Sequence[str]) -> None:
        """A row that is free is this node's from now on."""
        self.row_of[name] = row
        self.seat(row, cards)
        self._start[row] = ""

    def seat(self, row: int, cards: Sequence[str]) -> None:
        """Where its cards are, in the order of their columns."""
        self._cards[row], self._seats[row] = {card: place for place, card in enumerate(cards[:CARDS])}, ((), np.empty(0, np.intp))

    def grow(self, rows: int) -> None:
        """To so many rows, more than there are."""
        more = rows - len(self._start)
        self._cards += [dict[str, int]() for _ in range(more)]
        self._seats += [((), np.empty(0, np.intp))] * more
        self._start += [""] * more
        self._gpus.grow(CARDS * rows)
        self._hosts.grow(rows)
        self.begun = np.pad(self.begun, ((0, 0), (0, more)), constant_values=NEVER)
        self._mixed = np.pad(self._mixed, ((0, 0), (0, more)))
        self.newest, self._newest_ns, self.closed = (np.pad(of, (0, more), constant_values=NEVER) for of in (self.newest, self._newest_ns, self.closed))

    def known(self, samples: Sequence[Sample]) -> tuple[list[Sample], Places, Integers]:
        """Those whose nodes have a row, the rows, and their times."""
        of = [(sample, row) for sample in samples if (row := self.row_of.get(sample.node)) is not None]
        rows = np.fromiter((row for _, row in of), np.intp, len(of))
        return [sample for sample, _ in of], rows, np.fromiter((sample.unix_ns for sample, _ in of), np.int64, len(of))

    def set_back(self, rows: Places, unix_ns: Integers) -> Places:
        """Of these those whose clock was set back behind what is closed. They begin anew."""
        back = (unix_ns // MINUTE_NS <= self.closed[rows]) & (unix_ns < self._newest_ns[rows] - LATE_NS)
        self.forget(rows[back])
        return rows[back]

    def forget(self, rows: Places) -> None:
        for place in range(OPEN):
            self.begun[place, rows] = NEVER
        self.newest[rows] = self._newest_ns[rows] = self.closed[rows] = NEVER

    def in_the_way(self, rows: Places, unix_ns: Integers) -> bool:
        """Whether a minute that nobody has taken out stands where one of these would go."""
        minute = unix_ns // MINUTE_NS
        there = self.begun[minute % OPEN, rows]
        return bool(((there > self.closed[rows]) & (there < minute)).any())

    def take(self, samples: Sequence[Sample], rows: Places, unix_ns: Integers) -> None:
        """One sample of each row at most, and what is in the way was taken out."""
        minute = unix_ns // MINUTE_NS
        late = minute <= self.closed[rows]
        self.late += int(late.sum())
        samples, rows, unix_ns, minute = [s for s, no in zip(samples, late, strict=True) if not no], rows[~late], unix_ns[~late], minute[~late]
        place = minute % OPEN
        self._begin(place, rows, minute)
        self._note_starts(samples, place, rows)
        self.newest[rows] = np.maximum(self.newest[rows], minute)
        self._newest_ns[rows] = np.maximum(self._newest_ns[rows], unix_ns)
        self._gather(samples, place, rows, unix_ns)

    def _begin(self, place: Places, rows: Places, minute: Integers) -> None:
        new = self.begun[place, rows] != minute
        place, rows = place[new], rows[new]
        self.begun[place, rows], self._mixed[place, rows] = minute[new], False
        self._hosts.clear(place, rows)
        self._gpus.clear(np.repeat(place, CARDS), (CARDS * rows[:, None] + np.arange(CARDS)).ravel())

    def _note_starts(self, samples: Sequence[Sample], place: Places, rows: Places) -> None:
        for i, (sample, row) in enumerate(zip(samples, rows.tolist(), strict=True)):
            if sample.agent_start != self._start[row]:
                self._mixed[place[i], row] = self._start[row] != "" and self.begun[place[i], row] == self.newest[row]
                self._start[row] = sample.agent_start

    def _gather(self, samples: Sequence[Sample], place: Places, rows: Places, unix_ns: Integers) -> None:
        gpus, gpu_rows, of_gpu, hosts, of_host = list[Matrix](), list[Places](), list[int](), list[Matrix](), list[int]()
        for i, (sample, row) in enumerate(zip(samples, rows.tolist(), strict=True)):
            for readings in sample.readings:
                if readings.device is Device.GPU:
                    at = self._seated(row, readings.ids)
                    gpus.append(readings.values)
                    gpu_rows.append(at)
                    of_gpu.append(i)
                elif readings.device is Device.HOST and len(readings.ids) == 1:
                    hosts.append(readings.values)
                    of_host.append(i)
        if hosts:
            self._hosts.take(place[of_host], rows[of_host], unix_ns[of_host], np.concatenate(hosts))
        if gpus:
            member = np.repeat(of_gpu, [len(at) for at in gpu_rows])
            seats = np.concatenate(gpu_rows)
            sits = seats != NOWHERE
            member = member[sits]
            self._gpus.take(place[member], seats[sits], unix_ns[member], np.concatenate(gpus)[sits])

    def _seated(self, row: int, ids: tuple[str, ...]) -> Places:
        """The cards' rows; NOWHERE for a card that the model does not know."""
        seated, at = self._seats[row]
        if seated != ids:
            places = [self._cards[row].get(card, NOWHERE) for card in ids]
            at = np.array([NOWHERE if place == NOWHERE else CARDS * row + place for place in places], np.intp)
            self._seats[row] = ids, at
        return at

    def pending(self, until: Integers) -> tuple[Places, Places]:
        """(places, rows) of the oldest minute of each node that is over, not yet taken out, and before minute `until` (nodes,)."""
        begun = np.where((self.begun > self.closed) & (self.begun < until), self.begun, np.iinfo(np.int64).max)
        place = begun.argmin(0)
        rows = np.flatnonzero(begun.min(0) < np.iinfo(np.int64).max)
        return place[rows], rows

    def out(self, place: Places, rows: Places) -> Matrix:
        """Their minutes, (rows, FEATURES), which are closed by that."""
        made = np.empty((len(rows), len(FEATURES)), np.float32)
        cards = (CARDS * rows[:, None] + np.arange(CARDS)).ravel()
        width = CARDS * len(METRICS[Device.GPU])
        made[:, :width] = self._gpus.minute(np.repeat(place, CARDS), cards).reshape(len(rows), width)
        made[:, width:] = self._hosts.minute(place, rows)
        made[np.ix_(np.flatnonzero(self._mixed[place, rows]), RATES)] = np.nan
        self.closed[rows] = self.begun[place, rows]
        return made
