"""Telemetry on its way to the bus: kept until it is acknowledged, bounded, in order; the oldest goes first when there is no room.

Device events outlive all readings. With a file, what is not acknowledged survives this process.
"""

import logging
import sqlite3
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from prometheus_client import Counter, Gauge

from gpuwarden.agent.spool_store import Kept, Store, Worth, open_store
from gpuwarden.agent.telemetry import events_only

MEMORY_BYTES: Final = 16 << 20  # at most so much waits where there is no file, or none that can be written
REMOVE_AT: Final = 64  # acknowledged records that are removed together

WAITING: Final = Gauge("gpuwarden_agent_spool_records", "Telemetry records that are not acknowledged by the bus")
DROPPED: Final = Counter("gpuwarden_agent_spool_dropped_total", "Telemetry records whose readings, or (events=yes) whose device events, were dropped because there was no room for more", ["events"])
COMM_WAITING: Final = Gauge("gpuwarden_agent_comm_spool_records", "Records of what ranks say that are not acknowledged by the bus")
COMM_DROPPED: Final = Counter("gpuwarden_agent_comm_spool_dropped_total", "Records of what ranks say that were dropped because there was no room for more", ["events"])
for _events in ("yes", "no"):
    DROPPED.labels(_events)  # at 0 from the start: a counter that begins at 1 has not risen

_log = logging.getLogger("gpuwarden.agent")


class Spool:
    """For any thread. A file that fails is stood in for by memory, until that is empty again."""

    def __init__(self, path: Path | None, limit_bytes: int, waiting: Gauge = WAITING, dropped: Counter = DROPPED) -> None:
        self._waiting, self._dropped = waiting, dropped
        self._changed = threading.Condition()  # guards all that follows
        self._file = _opened(path) if path is not None else None
        self._memory = Store()
        self._last_id = self._file.last_id if self._file is not None else 0
        self._limit_bytes = limit_bytes
        self._taken = 0  # all up to this number are under way
        self._acknowledged: set[int] = set()  # in the file still, since removing costs a write
        self._remove_at = 1  # so many
        self._failing = False
        self._show()

    def put(self, payload: bytes, events: bool) -> None:
        with self._changed:
            self._last_id += 1
            kept = Kept(self._last_id, Worth.READINGS_AND_EVENTS if events else Worth.READINGS, payload)
            if self._memory.count or not self._put_in_file(kept):
                self._memory.add(kept)
                _make_room(self._memory, min(self._limit_bytes, MEMORY_BYTES), self._dropped)
            self._show()
            self._changed.notify()

    def take(self, timeout_s: float) -> Kept | None:
        """The next that is not under way; None if there is none in time."""
        with self._changed:
            kept = self._next()
            if kept is None and self._changed.wait(timeout_s):
                kept = self._next()
            if kept is not None:
                self._taken = kept.id
            return kept

    def done(self, id: int) -> None:
        """It is acknowledged, or will never be wanted."""
        with self._changed:
            self._memory.remove((id,))
            if self._in_file(id):  # it may have been dropped while it was under way
                self._acknowledged.add(id)
            if len(self._acknowledged) >= REMOVE_AT:
                self._remove()
            self._show()

    def again(self, id: int) -> None:
        """It could not be sent: `take` goes on from it, so that order is kept and some may come twice."""
        with self._changed:
            self._taken = min(self._taken, id - 1)
            self._changed.notify()

    def __len__(self) -> int:
        """Records that are not acknowledged."""
        return self._stored() - len(self._acknowledged)

    def close(self) -> None:
        """What is not acknowledged stays in the file."""
        with self._changed:
            self._remove_at = 1
            self._remove()
            self._show()
            for store in (self._file, self._memory):
                if store is not None:
                    store.close()

    @property
    def survives(self) -> bool:
        """Whether all that waits is in the file."""
        return self._file is not None and not self._memory.count

    def _stored(self) -> int:
        return self._memory.count + (self._file.count if self._file is not None else 0)

    def _in_file(self, id: int) -> bool:
        try:
            return self._file is not None and self._file.has(id)
        except sqlite3.Error as why:
            self._say_failing(why)
            return False  # it may come twice

    def _put_in_file(self, kept: Kept) -> bool:
        if self._file is None:
            return False
        try:
            self._file.add(kept)
            if self._file.size_bytes > self._limit_bytes:
                self._remove_from(self._file)  # what is acknowledged is no loss
            _make_room(self._file, self._limit_bytes, self._dropped)
        except sqlite3.Error as why:
            self._say_failing(why)
            return False
        self._failing = False
        return True

    def _next(self) -> Kept | None:
        self._remove()
        while (kept := self._after_taken()) is not None and kept.id in self._acknowledged:
            self._taken = kept.id  # one that could not be removed yet
        return kept

    def _after_taken(self) -> Kept | None:
        try:
            kept = self._file.after(self._taken) if self._file is not None else None
        except sqlite3.Error as why:
            self._say_failing(why)
            kept = None
        return kept or self._memory.after(self._taken)

    def _remove(self) -> None:
        """A file that takes no changes keeps them for now, and is not asked at every record: they would come twice after a restart."""
        if self._file is None or len(self._acknowledged) < self._remove_at:
            return
        try:
            self._remove_from(self._file)
        except sqlite3.Error as why:
            self._say_failing(why)
            self._remove_at = len(self._acknowledged) + REMOVE_AT

    def _remove_from(self, file: Store) -> None:
        file.remove(self._acknowledged)
        self._acknowledged.clear()
        self._remove_at = 1

    def _say_failing(self, why: sqlite3.Error) -> None:
        if not self._failing:
            _log.error("spool_file: %s; telemetry waits in memory, at most %d bytes of it", why, MEMORY_BYTES)
        self._failing = True

    def _show(self) -> None:
        self._waiting.set(len(self))


def _opened(path: Path) -> Store | None:
    try:
        return open_store(path)
    except (OSError, sqlite3.Error) as why:
        _log.error("spool_file: %s: %s; telemetry waits in memory, at most %d bytes of it", path, why, MEMORY_BYTES)
        return None


def _make_room(store: Store, limit_bytes: int, dropped: Counter) -> None:
    """The oldest readings go first: where their record tells of device events too, those stay. Only where there are more events
    than room are events dropped, some hundred bytes each."""
    while store.size_bytes > limit_bytes:
        oldest = _oldest(store, (Worth.READINGS, Worth.READINGS_AND_EVENTS)) or _oldest(store, (Worth.EVENTS,))
        assert oldest is not None, "it is over its limit, so there is one"
        if oldest.worth is Worth.READINGS_AND_EVENTS:
            store.replace(oldest, Kept(oldest.id, Worth.EVENTS, events_only(oldest.payload)))
        else:
            store.remove((oldest.id,))
        dropped.labels("yes" if oldest.worth is Worth.EVENTS else "no").inc()


def _oldest(store: Store, worths: Iterable[Worth]) -> Kept | None:
    return min(filter(None, map(store.oldest, worths)), key=lambda kept: kept.id, default=None)
