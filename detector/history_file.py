"""Where history lies, and how a file of it gets there: whole or not at all, also through a loss of power.

`<folder>/kind=gpu/date=2026-01-02/13-003-<first offset>-<last offset>-<digest>.parquet` has telemetry of 13:00 to 14:00 UTC
from partition 3. The same records make the same name, so to write them again replaces them; other records never do.
"""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Final

import pyarrow as pa  # type: ignore[import-untyped]  # has no types
import pyarrow.parquet as pq  # type: ignore[import-untyped]  # has no types

from gpuwarden.core.durable import sync_folder

HOUR_NS: Final = 3_600_000_000_000
MAX_NS: Final = 2**64 - 1
ROW_GROUP_ROWS: Final = 1 << 14  # small enough for one node's rows to be few of a file's groups


def hour_key(unix_ns: int) -> str:
    """Sorts as time does: date and hour, UTC."""
    return datetime.fromtimestamp(unix_ns // HOUR_NS * 3600, UTC).strftime("%Y-%m-%d %H")


def file_name(hour: str, partition: int, first: int, last: int, digests: list[bytes]) -> str:
    """`hour` is a key of `hour_key`; `digests` stand for the records, in their order."""
    digest = blake2b(b"".join(digests), digest_size=6).hexdigest()
    return f"{hour[-2:]}-{partition:03d}-{first:020d}-{last:020d}-{digest}.parquet"


def folder_of(folder: Path, kind: str, hour: str) -> Path:
    return folder / f"kind={kind}" / f"date={hour[:10]}"


def files(folder: Path, kind: str, start_ns: int, end_ns: int) -> Iterator[Path]:
    """Those that may have rows of [start_ns, end_ns), in order of time."""
    first, last = (hour_key(min(max(ns, 0), MAX_NS)) for ns in (start_ns, end_ns - 1))
    for date in sorted((folder / f"kind={kind}").glob("date=*")):
        if first[:10] <= date.name[5:] <= last[:10]:
            yield from (path for path in sorted(date.glob("*.parquet")) if first <= f"{date.name[5:]} {path.name[:2]}" <= last)


def write(table: pa.Table, path: Path) -> None:
    """Returns when the file is durable under its name; OSError if it cannot be, and then there is none of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        with unfinished.open("wb") as out:
            pq.write_table(table, out, compression="zstd", row_group_size=ROW_GROUP_ROWS)
            out.flush()
            os.fsync(out.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    for folder in path.parents[:3]:  # date, kind, and the whole: each may be new
        sync_folder(folder)

