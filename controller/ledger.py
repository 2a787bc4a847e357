"""What was done and why, in SQLite: each line durable before what it stands for is done.

One file, one writer. The memory that a restart needs, epoch and domains, lies beside the lines. The newest KEPT_LINES stay,
some 400 bytes each; what goes has long been mirrored to the bus, if one answers.
"""

import contextlib
import fcntl
import os
import secrets
import socket
import sqlite3
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import IO, Final

from prometheus_client import Counter, Histogram

from gpuwarden.controller.power.foreign_kept import LimitForeign
from gpuwarden.controller.power.learnt_kept import LimitLearnt
from gpuwarden.controller.power.limit_heat import LimitHeat
from gpuwarden.controller.remembered import Remembered
from gpuwarden.core.config import ConfigError
from gpuwarden.proto.control_pb2 import Action
from gpuwarden.proto.lease_pb2 import Mode

LINES: Final = Counter("gpuwarden_controller_ledger_lines_total", "Ledger lines made durable")
WRITES: Final = Histogram(
    "gpuwarden_controller_ledger_write_duration_seconds", "One durable transaction",
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2.0),
)

APPLICATION: Final = 0x67707577  # "gpuw", so that another program's database is not taken for ours
SCHEMA: Final = 1
_BUSY_S: Final = 5.0
_CACHE_KIB: Final = 256  # a connection: what is read is the newest lines; SQLite's 2 MiB would fill with the first hours' lines
_MACHINE_ID: Final = Path("/etc/machine-id")
KEPT_LINES: Final = 1_000_000
HIGHEST_ID: Final = (1 << 63) - 1
_TABLES: Final = f"""
BEGIN;
CREATE TABLE line (id INTEGER PRIMARY KEY AUTOINCREMENT, unix_ns INTEGER NOT NULL, payload BLOB NOT NULL) STRICT;
CREATE TABLE domain (name TEXT PRIMARY KEY, budget_w REAL NOT NULL, mode INTEGER NOT NULL) STRICT;
CREATE TABLE number (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {SCHEMA};
COMMIT;
"""

_EPOCH: Final = "SELECT coalesce(max(value), 0) FROM number WHERE name = 'epoch'"
# Beside the first tables, so that the version before this one still reads the file.
_ADDED: Final = """
CREATE TABLE IF NOT EXISTS maintenance (id TEXT PRIMARY KEY, payload BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS job_floor (job TEXT PRIMARY KEY, payload BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS limit_heat (
    domain TEXT NOT NULL, "limit" TEXT NOT NULL, rating_w REAL NOT NULL, trip_heat REAL NOT NULL, heat REAL NOT NULL, lapsed_heat REAL NOT NULL,
    epoch INTEGER NOT NULL, PRIMARY KEY (domain, "limit")
) STRICT;
CREATE TABLE IF NOT EXISTS learnt (
    domain TEXT NOT NULL, "limit" TEXT NOT NULL, policy TEXT NOT NULL, rating_w REAL NOT NULL, learnt BLOB NOT NULL, PRIMARY KEY (domain, "limit")
) STRICT;
CREATE TABLE IF NOT EXISTS foreign_load (domain TEXT NOT NULL, "limit" TEXT NOT NULL, foreign_w REAL NOT NULL, PRIMARY KEY (domain, "limit")) STRICT;
CREATE TABLE IF NOT EXISTS isolation (key TEXT PRIMARY KEY, record TEXT NOT NULL) STRICT;
"""


class LedgerError(ConfigError):
    """The ledger cannot be used: the file, what is wrong and what to do."""


class Ledger:
    """Safe to use from several threads; an append never waits for a reader."""

    def __init__(self, file: Path, kept_lines: int = KEPT_LINES) -> None:
        """Opens or creates `file`; LedgerError if another controller has it or it is not a sound ledger."""
        self._file, self._kept_lines = file, kept_lines
        self._lock_file = _lock(file)
        try:
            self._writing = _open(file)
        except sqlite3.DatabaseError as why:
            self._lock_file.close()
            raise LedgerError(f"ledger_file {file}: {why}; move it away or bring back a copy that is sound") from None
        except LedgerError:
            self._lock_file.close()
            raise
        self._reading, self._marking = _connect(file), _connect(file)
        # A lost watermark only repeats lines, and no fsync may hold the write lock while the decider waits for it.
        self._marking.executescript("PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 0;")
        self._write_lock, self._read_lock, self._mark_lock = Lock(), Lock(), Lock()

    def append(self, payloads: Sequence[bytes], unix_ns: int) -> range:
        """The lines' ids, in order. One durable transaction; sqlite3.Error means that none of them is written."""
        return self.append_and_remember(payloads, {}, unix_ns)

    def append_and_remember(self, payloads: Sequence[bytes], records: Mapping[str, str | None], unix_ns: int) -> range:
        """As above, and in the same transaction what isolation keeps, by key; None: it is over."""
        with WRITES.time(), self._write_lock, self._writing as transaction:
            transaction.execute("BEGIN IMMEDIATE")
            ids = self._appended(transaction, payloads, unix_ns)
            transaction.executemany("INSERT OR REPLACE INTO isolation VALUES (?, ?)", [(key, text) for key, text in records.items() if text is not None])
            transaction.executemany("DELETE FROM isolation WHERE key = ?", [(key,) for key, text in records.items() if text is None])
        LINES.inc(len(ids))
        return ids

    def _appended(self, transaction: sqlite3.Connection, payloads: Sequence[bytes], unix_ns: int) -> range:
        first = _number(transaction, "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'line'") + 1
        ids = range(first, first + len(payloads))
        transaction.executemany("INSERT INTO line VALUES (?, ?, ?)", [(id, unix_ns, payload) for id, payload in zip(ids, payloads, strict=True)])
        transaction.execute("DELETE FROM line WHERE id < ?", (ids.stop - self._kept_lines,))
        return ids

    def isolation_records(self) -> Mapping[str, str]:
        """By key, as they were kept."""
        with self._read_lock:
            return dict(self._reading.execute("SELECT key, record FROM isolation ORDER BY key"))

    def remember_epoch(self, epoch: int) -> None:
        with self._write_lock, self._writing as transaction:
            transaction.execute("INSERT OR REPLACE INTO number VALUES ('epoch', ?)", (epoch,))

    def remember_domain(self, name: str, budget_w: float, mode: "Mode.ValueType") -> None:
        with self._write_lock, self._writing as transaction:
            transaction.execute("INSERT OR REPLACE INTO domain VALUES (?, ?, ?)", (name, budget_w, mode))

    def remember_heats(self, heats: Sequence[LimitHeat]) -> None:
        with self._write_lock, self._writing as transaction:
            rows = [(one.domain, one.limit, one.rating_w, one.trip_heat, one.heat, one.lapsed_heat) for one in heats]
            transaction.executemany(f"INSERT OR REPLACE INTO limit_heat VALUES (?, ?, ?, ?, ?, ?, ({_EPOCH}))", rows)

    def heats(self) -> tuple[LimitHeat, ...]:
        """As the newest epoch kept them: of a limit that it did not know, or if it was of a version that kept none, nothing is known."""
        query = f'SELECT domain, "limit", rating_w, trip_heat, heat, lapsed_heat FROM limit_heat WHERE epoch = ({_EPOCH}) ORDER BY domain, "limit"'
        with self._read_lock:
            rows = self._reading.execute(query).fetchall()
        return tuple(LimitHeat(*row) for row in rows)

    def remember_foreign(self, foreign: Sequence[LimitForeign]) -> None:
        with self._write_lock, self._writing as transaction:
            rows = [(one.domain, one.limit, one.foreign_w) for one in foreign]
            transaction.executemany("INSERT OR REPLACE INTO foreign_load VALUES (?, ?, ?)", rows)

    def foreign(self) -> tuple[LimitForeign, ...]:
        """What meters had shown, whoever was the controller then."""
        with self._read_lock:
            rows = self._reading.execute('SELECT domain, "limit", foreign_w FROM foreign_load ORDER BY domain, "limit"').fetchall()
        return tuple(LimitForeign(*row) for row in rows)

    def remember_learnt(self, learnt: Sequence[LimitLearnt]) -> None:
        with self._write_lock, self._writing as transaction:
            rows = [(one.domain, one.limit, one.policy, one.rating_w, one.learnt) for one in learnt]
            transaction.executemany("INSERT OR REPLACE INTO learnt VALUES (?, ?, ?, ?, ?)", rows)

    def learnt(self) -> tuple[LimitLearnt, ...]:
        """By whatever policy."""
        with self._read_lock:
            rows = self._reading.execute('SELECT domain, "limit", policy, rating_w, learnt FROM learnt ORDER BY domain, "limit"').fetchall()
        return tuple(LimitLearnt(*row) for row in rows)

    def remember_maintenance(self, id: str, payload: bytes | None) -> None:
        """None: it is over."""
        self._remember("maintenance", "id", id, payload)

    def remember_job_floor(self, job: str, payload: bytes | None) -> None:
        """None: it is over."""
        self._remember("job_floor", "job", job, payload)

    def _remember(self, table: str, key: str, of: str, payload: bytes | None) -> None:
        with self._write_lock, self._writing as transaction:
            if payload is None:
                transaction.execute(f"DELETE FROM {table} WHERE {key} = ?", (of,))
            else:
                transaction.execute(f"INSERT OR REPLACE INTO {table} VALUES (?, ?)", (of, payload))

    def maintenance(self) -> tuple[bytes, ...]:
        """The windows that were open."""
        with self._read_lock:
            return tuple(payload for (payload,) in self._reading.execute("SELECT payload FROM maintenance ORDER BY id"))

    def job_floors(self) -> tuple[bytes, ...]:
        """Those of jobs that had not ended."""
        with self._read_lock:
            return tuple(payload for (payload,) in self._reading.execute("SELECT payload FROM job_floor ORDER BY job"))

    def line_count(self) -> int:
        """Ids have no gaps: lines go from the old end only."""
        with self._read_lock:
            return _number(self._reading, "SELECT coalesce(max(id) - min(id) + 1, 0) FROM line")

    def controller_id(self) -> str:
        """Who writes this ledger here: the same after a restart, so that limiters know their controller again within a lease; another
        one for a copy of the file elsewhere.
        """
        with self._write_lock, self._writing as transaction:
            transaction.execute("INSERT OR IGNORE INTO number VALUES ('controller', ?)", (secrets.randbits(62),))
            number = _number(transaction, "SELECT value FROM number WHERE name = 'controller'")
        return sha256(f"{number} {_host()} {self._file.resolve()}".encode()).hexdigest()[:16]

    def epoch(self) -> int:
        """The highest epoch remembered, 0 in a new ledger."""
        with self._read_lock:
            return _number(self._reading, _EPOCH)

    def remembered(self) -> tuple[Remembered, ...]:
        """Budget in W and mode of each domain that an operator has set."""
        with self._read_lock:
            rows = self._reading.execute("SELECT name, budget_w, mode FROM domain ORDER BY name").fetchall()
        return tuple(Remembered(name, budget_w, mode) for name, budget_w, mode in rows)

    def newest(self, limit: int, below_id: int = HIGHEST_ID) -> Sequence[Action]:
        """Newest first."""
        query = "SELECT id, unix_ns, payload FROM line WHERE id < ? ORDER BY id DESC LIMIT ?"
        return self._lines(query, below_id, limit)

    def after(self, id: int, limit: int) -> Sequence[Action]:
        """Oldest first."""
        return self._lines("SELECT id, unix_ns, payload FROM line WHERE id > ? ORDER BY id LIMIT ?", id, limit)

    def mirrored(self) -> int:
        """Lines up to this id are known to be on the bus."""
        with self._read_lock:
            return _number(self._reading, "SELECT coalesce(max(value), 0) FROM number WHERE name = 'mirrored'")

    def set_mirrored(self, id: int) -> None:
        with self._mark_lock, self._marking as transaction:
            transaction.execute("INSERT OR REPLACE INTO number VALUES ('mirrored', ?)", (id,))

    def close(self) -> None:
        for connection in (self._marking, self._reading, self._writing):
            connection.close()
        self._lock_file.close()

    def _lines(self, query: str, *arguments: int) -> Sequence[Action]:
        with self._read_lock:
            rows = self._reading.execute(query, arguments).fetchall()
        return [_line(*row) for row in rows]


def _line(id: int, unix_ns: int, payload: bytes) -> Action:
    """As it lies in the file, id and time are beside it."""
    line = Action.FromString(payload)
    line.id, line.unix_ns = id, unix_ns
    return line


def _host() -> str:
    """What tells this machine from others (machine-id(5)); its name where there is none, or, as in containers, one that says nothing."""
    try:
        id = _MACHINE_ID.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        id = ""
    return socket.gethostname() if id in ("", "uninitialized") else id


def _lock(file: Path) -> IO[bytes]:
    """Held as long as the returned file is open: the kernel frees it even after a crash."""
    path = file.with_name(file.name + ".lock")
    try:
        lock_file = path.open("a+b", buffering=0)
    except OSError as why:
        raise LedgerError(f"ledger_file {file}: cannot create {path.name}: {why.strerror}") from None
    try:
        fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = _holder(lock_file)
        lock_file.close()
        raise LedgerError(f"ledger_file {file}: another controller{holder} is writing it; only one may run") from None
    with contextlib.suppress(OSError):  # the lock holds without it; a full disk is the ledger's to tell
        lock_file.truncate(0)
        lock_file.write(b"%d\n" % os.getpid())
    return lock_file


def _holder(lock_file: IO[bytes]) -> str:
    """Who has it, as it wrote itself down; nothing if it has not got that far yet."""
    lock_file.seek(0)
    pid = lock_file.read(32).strip()
    return f" (process {int(pid)})" if pid.isdigit() else ""


def _open(file: Path) -> sqlite3.Connection:
    connection = _connect(file)
    try:
        _check(file, connection)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(_ADDED)
    except (sqlite3.DatabaseError, LedgerError):
        connection.close()
        raise
    return connection


def _connect(file: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(file, timeout=_BUSY_S, check_same_thread=False)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    return connection


def _check(file: Path, connection: sqlite3.Connection) -> None:
    """Creates the tables in an empty file; refuses a file that is not sound or not ours."""
    if _number(connection, "SELECT count(*) FROM sqlite_schema") == 0:
        connection.executescript(_TABLES)
    if _number(connection, "PRAGMA application_id") != APPLICATION:
        raise LedgerError(f"ledger_file {file}: is another program's database")
    schema = _number(connection, "PRAGMA user_version")
    if schema != SCHEMA:
        raise LedgerError(f"ledger_file {file}: has schema {schema}, this version reads {SCHEMA}; start the version that wrote it")
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise LedgerError(f"ledger_file {file}: is damaged: {verdict}; move it away or bring back a copy that is sound")


def _number(connection: sqlite3.Connection, query: str) -> int:
    (value,) = connection.execute(query).fetchone()
    return int(value)
