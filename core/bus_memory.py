"""The bus of parts that share one process. Holds as much of each topic as it may; the oldest goes first."""

import logging
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final
from zlib import crc32

from prometheus_client import Counter

from gpuwarden.core.bus import Moves, OnDone, Record, check_size

PARTITIONS: Final = 4
KEPT_BYTES: Final = 16 << 20  # of each partition
RECORD_BYTES: Final = 300  # what Python takes for a record beside its value

DROPPED: Final = Counter(
    "gpuwarden_bus_unread_dropped_total", "Records of the in-process bus that a group had not read when they had to go", ["topic"]
)

_log = logging.getLogger("gpuwarden.bus")


class _Partition:
    """A log with a bounded past. Offsets count from 0 and are never used twice."""

    def __init__(self, topic: str, number: int, kept_bytes: int) -> None:
        self._topic, self._number, self._kept_bytes = topic, number, kept_bytes
        self._records: dict[int, Record] = {}  # by offset: quick at both ends and in the middle
        self._held_bytes = 0
        self.start = 0
        self.end = 0

    def append(self, key: str, value: bytes) -> None:
        self._records[self.end] = Record(self._topic, self._number, self.end, key, value)
        self.end += 1
        self._held_bytes += len(value) + RECORD_BYTES
        while self._held_bytes > self._kept_bytes:
            self._held_bytes -= len(self._records.pop(self.start).value) + RECORD_BYTES
            self.start += 1

    def read(self, offset: int, limit: int) -> list[Record]:
        return [self._records[at] for at in range(offset, min(offset + limit, self.end))]


class _Group:
    """Who shares the partitions of a topic list, and how far they have committed."""

    def __init__(self) -> None:
        self.committed: dict[tuple[str, int], int] = {}
        self.members: list[_MemoryConsumer] = []

    def share_out(self) -> None:
        """Each member's partitions anew, by turns. All go on from what is committed."""
        for topic in sorted({topic for member in self.members for topic in member.topics}):
            readers = [member for member in self.members if topic in member.topics]
            for member in readers:
                turn = readers.index(member)
                member.assign(topic, range(turn, PARTITIONS, len(readers)))


class MemoryBus:
    """One object, shared by all who are to meet on it."""

    def __init__(self, kept_bytes: int = KEPT_BYTES) -> None:
        self._kept_bytes = kept_bytes
        self._topics: dict[str, tuple[_Partition, ...]] = {}
        self._groups: dict[str, _Group] = {}
        self.changed = threading.Condition()  # its lock guards all that is here

    def producer(self) -> "_MemoryProducer":
        return _MemoryProducer(self)

    def consumer(self, topics: Sequence[str], group: str, from_start: bool = True, moves: Moves | None = None) -> "_MemoryConsumer":
        with self.changed:
            joined = self._groups.setdefault(group, _Group())
            member = _MemoryConsumer(self, joined, topics, from_start, moves)
            joined.members.append(member)
            joined.share_out()
            return member

    def partitions(self, topic: str) -> tuple[_Partition, ...]:
        """Of the topic, made now if nobody has named it before. With the lock held."""
        if topic not in self._topics:
            self._topics[topic] = tuple(_Partition(topic, number, self._kept_bytes) for number in range(PARTITIONS))
        return self._topics[topic]


class _MemoryProducer:
    """A record is as durable as it will ever be when `send` returns."""

    def __init__(self, bus: MemoryBus) -> None:
        self._bus = bus

    def send(self, topic: str, key: str, value: bytes, on_done: OnDone | None = None) -> None:
        check_size(topic, key, value)
        with self._bus.changed:
            self._bus.partitions(topic)[crc32(key.encode()) % PARTITIONS].append(key, value)
            self._bus.changed.notify_all()
        if on_done is not None:
            on_done(None)

    def flush(self, timeout_s: float) -> None:
        pass

    def close(self) -> None:
        pass


class _MemoryConsumer:
    """A group's member. Its positions are its own; what is committed is the group's."""

    def __init__(self, bus: MemoryBus, group: _Group, topics: Iterable[str], from_start: bool, moves: Moves | None) -> None:
        self.topics = frozenset(topics)
        self._bus, self._group, self._moves, self._moved = bus, group, moves, False
        self._positions: dict[tuple[str, int], int] = {}
        self._beginnings = {
            (topic, number): partition.start if from_start else partition.end
            for topic in self.topics
            for number, partition in enumerate(bus.partitions(topic))
        }

    def assign(self, topic: str, numbers: Iterable[int]) -> None:
        """The topic's partitions that are this member's from now on."""
        kept = {place: offset for place, offset in self._positions.items() if place[0] != topic}
        places = [(topic, number) for number in numbers]
        self._positions = kept | {place: self._group.committed.get(place, self._beginnings[place]) for place in places}
        self._moved = True

    def poll(self, timeout_s: float, max_records: int) -> list[Record]:
        self._tell_of_moves()
        end_s = time.monotonic() + timeout_s
        with self._bus.changed:
            while not (records := list(islice(self._next(max_records), max_records))):
                if not self._bus.changed.wait(end_s - time.monotonic()):
                    break
            for record in records:
                self._positions[record.topic, record.partition] = record.offset + 1
            self._read_others_first()
            return records

    def _tell_of_moves(self) -> None:
        with self._bus.changed:
            moved, self._moved = self._moved, False
            places = frozenset(self._positions)
        if moved and self._moves is not None:
            self._moves.given(places)

    def _next(self, limit: int) -> Iterator[Record]:
        for (topic, number), offset in self._positions.items():
            partition = self._bus.partitions(topic)[number]
            if offset < partition.start:
                self._tell_of_loss(topic, number, partition.start - offset)
            yield from partition.read(max(offset, partition.start), limit)

    def _tell_of_loss(self, topic: str, number: int, count: int) -> None:
        DROPPED.labels(topic).inc(count)
        _log.warning("%s/%d: %d records were dropped before they were read: the reader is too slow", topic, number, count)
        self._positions[topic, number] += count

    def _read_others_first(self) -> None:
        """The partition whose turn it was goes to the end, so that a busy one starves nobody."""
        if self._positions:
            first = next(iter(self._positions))
            self._positions[first] = self._positions.pop(first)

    def commit(self, next_offsets: Mapping[tuple[str, int], int]) -> None:
        with self._bus.changed:
            self._group.committed.update({k: v for k, v in next_offsets.items() if k in self._positions})

    def close(self) -> None:
        with self._bus.changed:
            if self in self._group.members:
                self._group.members.remove(self)
                self._positions = {}
                self._group.share_out()
