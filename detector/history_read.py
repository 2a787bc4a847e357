"""Reads what a recorder wrote: one node's rows of a time range, each once."""

from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]  # has no types
import pyarrow.dataset as ds  # type: ignore[import-untyped]  # has no types

from gpuwarden.detector.history_door import BadHistory, rows_of
from gpuwarden.detector.history_file import MAX_NS, files
from gpuwarden.detector.history_table import SCHEMAS

_SAME: Final = ("agent_start", "sequence", "device_id", "place")  # of one node; `place` where there is one


def read(folder: Path, kind: str, node: str, start_ns: int, end_ns: int) -> pa.Table:
    """Rows of [start_ns, end_ns) by time and device. `kind` is gpu, host, nic or event, the columns SCHEMAS[kind].

    A metric that a file does not have yet is null. No rows where there is no history. Raises BadHistory.
    """
    paths = [str(path) for path in files(folder, kind, start_ns, end_ns) if rows_of(path, kind)]
    if not paths:
        return SCHEMAS[kind].empty_table()
    dataset = ds.dataset(paths, schema=SCHEMAS[kind], format="parquet")
    first, end = (pa.scalar(min(max(ns, 0), MAX_NS), pa.uint64()) for ns in (start_ns, end_ns))
    time = ds.field("unix_ns")
    try:
        table = dataset.to_table(filter=(ds.field("node") == node) & (time >= first) & (time < end))
    except (pa.ArrowException, OSError) as why:
        raise BadHistory(f"{folder}: {why}") from why
    return _once(table).sort_by([("unix_ns", "ascending"), ("device_id", "ascending")])


def _once(table: pa.Table) -> pa.Table:
    """Records are read from the bus at least once, and were sent at least once: the first of each row stays."""
    same = [name for name in _SAME if name in table.column_names]
    numbered = table.select(same).append_column("row", pa.array(np.arange(table.num_rows)))
    firsts = numbered.group_by(same).aggregate([("row", "min")])["row_min"]
    return table.take(firsts)
