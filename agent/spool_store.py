"""The SQLite file that telemetry waits in. What was written survives the process; what a crash of the node costs is its last moments."""

import contextlib
import logging
import sqlite3
from collections.abc import Iterable, Iterator
from enum import IntEnum
from pathlib import Path
from typing import Final, NamedTuple

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS records (id INTEGER PRIMARY KEY, events INTEGER NOT NULL, payload BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS oldest ON records (events, id);
"""

_log = logging.getLogger("gpuwarden.agent")


class Worth(IntEnum):
    """What a record holds. The number stands in the file."""

    READINGS = 0
    READINGS_AND_EVENTS = 1
    EVENTS = 2


class Kept(NamedTuple):
    """One record."""

    id: int
    worth: Worth
    payload: bytes


class Store:
    """Records in the order in which they came. Every method may raise sqlite3.Error and has then changed nothing."""

    def __init__(self, path: Path | None = None) -> None:
        """Without a path it is in memory. `last_id` is that of the newest record, 0 if there is none."""
        self._db = sqlite3.connect(path or ":memory:", check_same_thread=False)
        if path is not None:
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.executescript(SCHEMA)
        ((damage,),) = self._db.execute("PRAGMA quick_check(1)").fetchall()
        if damage != "ok":
            raise sqlite3.DatabaseError(damage)
        self.count: int
        ((self.count, self.size_bytes, self.last_id),) = self._db.execute(
            "SELECT count(*), coalesce(sum(length(payload)), 0), coalesce(max(id), 0) FROM records"
        )

    def add(self, kept: Kept) -> None:
        with self._db:
            self._db.execute("INSERT INTO records VALUES (?, ?, ?)", kept)
        self.count, self.size_bytes, self.last_id = self.count + 1, self.size_bytes + len(kept.payload), kept.id

    def after(self, id: int) -> Kept | None:
        """The first that came after this one."""
        return self._first("SELECT id, events, payload FROM records WHERE id > ? ORDER BY id LIMIT 1", id)

    def has(self, id: int) -> bool:
        return self._db.execute("SELECT 1 FROM records WHERE id = ?", (id,)).fetchone() is not None

    def oldest(self, worth: Worth) -> Kept | None:
        return self._first("SELECT id, events, payload FROM records WHERE events = ? ORDER BY id LIMIT 1", worth)

    def _first(self, query: str, value: int) -> Kept | None:
        row = self._db.execute(query, (value,)).fetchone()
        return None if row is None else Kept(row[0], Worth(row[1]), row[2])

    def replace(self, before: Kept, after: Kept) -> None:
        """One that is there, under the same id."""
        assert before.id == after.id
        with self._db:
            self._db.execute("UPDATE records SET events = ?, payload = ? WHERE id = ?", (after.worth, after.payload, after.id))
        self.size_bytes += len(after.payload) - len(before.payload)

    def remove(self, ids: Iterable[int]) -> None:
        """Those of them that are there."""
        marks = [(id,) for id in ids]
        with self._db:
            sizes = [self._db.execute("DELETE FROM records WHERE id = ? RETURNING length(payload)", mark).fetchone() for mark in marks]
        gone = [size for size in sizes if size is not None]
        self.count, self.size_bytes = self.count - len(gone), self.size_bytes - sum(size for (size,) in gone)

    def close(self) -> None:
        self._db.close()


def open_store(path: Path) -> Store:
    """A damaged file is set aside as FILE.damaged, what can be read of it is carried over, and both are said.

    sqlite3.Error or OSError where a file cannot be had at all.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return Store(path)
    except sqlite3.OperationalError:
        raise  # no room, no permission: not damage
    except sqlite3.DatabaseError as why:
        return _salvaged(path, why)


def _salvaged(path: Path, why: sqlite3.DatabaseError) -> Store:
    damaged = path.with_name(path.name + ".damaged")
    _rename(path, damaged)
    store, saved = Store(path), 0
    for kept in _readable(damaged):
        store.add(kept)
        saved += 1
    _log.error("spool_file: %s is damaged (%s): %d records are saved, the others lost; see %s", path, why, saved, damaged)
    return store


def _rename(path: Path, damaged: Path) -> None:
    for suffix in ("-wal", "-shm"):  # the journal goes with its file: it may hold what the file lacks
        companion = Path(f"{path}{suffix}")
        if companion.exists():
            companion.replace(f"{damaged}{suffix}")
    path.replace(damaged)


def _lengthen(damaged: Path) -> None:
    """SQLite reads nothing of a file that is shorter than its header says: zeros in place of what was cut off."""
    with damaged.open("r+b") as file:
        header = file.read(32)
        page_bytes, pages = int.from_bytes(header[16:18], "big"), int.from_bytes(header[28:32], "big")
        if header.startswith(b"SQLite format 3\0"):
            file.truncate(max(damaged.stat().st_size, page_bytes * pages))


def _readable(damaged: Path) -> Iterator[Kept]:
    _lengthen(damaged)
    with contextlib.closing(sqlite3.connect(damaged)) as db, contextlib.suppress(sqlite3.DatabaseError):
        for id, events, payload in db.execute("SELECT id, events, payload FROM records NOT INDEXED ORDER BY id"):
            yield Kept(id, Worth(events), payload)
