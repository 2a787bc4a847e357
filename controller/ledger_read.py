"""A ledger's lines for whoever only looks: beside the controller that writes it, or without one."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from google.protobuf.message import DecodeError

from gpuwarden.controller.ledger import APPLICATION, SCHEMA, LedgerError
from gpuwarden.proto.control_pb2 import Action


def lines(file: Path, start_ns: int, end_ns: int) -> Iterator[Action]:
    """Those of [start_ns, end_ns), oldest first. LedgerError: the file, what is wrong and with which line."""
    if not file.is_file():
        raise LedgerError(f"{file}: is no file")
    try:
        with closing(sqlite3.connect(f"file:{quote(str(file))}?mode=ro", uri=True)) as connection:
            _check(file, connection)
            query = "SELECT id, unix_ns, payload FROM line WHERE unix_ns >= ? AND unix_ns < ? ORDER BY id"
            for id, unix_ns, payload in connection.execute(query, (start_ns, min(end_ns, (1 << 63) - 1))):
                yield _line(file, id, unix_ns, payload)
    except sqlite3.DatabaseError as why:
        raise LedgerError(f"{file}: {why}") from None


def _check(file: Path, connection: sqlite3.Connection) -> None:
    for pragma, wanted, says in (
        ("application_id", APPLICATION, "is another program's database"), ("user_version", SCHEMA, f"is of another version than {SCHEMA}, which this one reads"),
    ):  # fmt: skip
        if connection.execute(f"PRAGMA {pragma}").fetchone()[0] != wanted:
            raise LedgerError(f"{file}: {says}")


def _line(file: Path, id: int, unix_ns: int, payload: object) -> Action:
    try:
        line = Action.FromString(payload)  # type: ignore[arg-type]  # what is no bytes is told as what does not parse
    except (DecodeError, TypeError) as why:
        raise LedgerError(f"{file}: line {id}: payload: {why}") from None
    line.id, line.unix_ns = id, unix_ns
    return line
