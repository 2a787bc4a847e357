"""The GPU rows of a history in parts that fit into memory, in order of time."""

from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Final, NamedTuple

import pyarrow as pa  # type: ignore[import-untyped]  # has no types
import pyarrow.dataset as ds  # type: ignore[import-untyped]  # has no types

from gpuwarden.detector.history_door import BadHistory, rows_of
from gpuwarden.detector.history_file import files
from gpuwarden.detector.history_jobs import JOBS
from gpuwarden.detector.history_table import SCHEMAS

KIND: Final = "gpu"
MOST_ROWS: Final = 1 << 18  # of one part: an hour of nine nodes with eight cards each, read once a second
METRICS: Final = (
    "gpu_energy_joules_total", "gpu_energy_since_load_joules", "gpu_power_watts", "gpu_capped_by_us", "gpu_throttle_reasons",
    "gpu_power_limit_enforced_watts", "gpu_power_limit_default_watts",
)
COLUMNS: Final = ("node", "agent_start", "sequence", "unix_ns", "device_id", *METRICS, JOBS)


class Nodes(NamedTuple):
    """A range of names, both ends in it; None: all."""

    first: str | None = None
    last: str | None = None


def parts(folder: Path, start_ns: int, end_ns: int, most_rows: int = MOST_ROWS) -> Iterator[pa.Table]:
    """Rows of [start_ns, end_ns) with COLUMNS, hour by hour; of an hour with more than `most_rows`, some nodes at a time.

    A node has all its rows of an hour in one part, in no order, repeats included. Raises BadHistory.
    """
    for _, hour in groupby(files(folder, KIND, start_ns, end_ns), key=lambda path: (path.parent.name, path.name[:2])):
        paths = list(hour)
        rows = sum(rows_of(path, KIND) for path in paths)
        time = (ds.field("unix_ns") >= pa.scalar(start_ns, pa.uint64())) & (ds.field("unix_ns") < pa.scalar(end_ns, pa.uint64()))
        for nodes in _ranges(paths, most_rows) if rows > most_rows else [Nodes()]:
            yield pa.concat_tables([_rows(path, list(COLUMNS), time & _among(nodes)) for path in paths])


def _among(nodes: Nodes) -> ds.Expression:
    if nodes.first is None:
        return ds.scalar(True)
    return (ds.field("node") >= nodes.first) & (ds.field("node") <= nodes.last)


def _rows(path: Path, columns: list[str], chosen: ds.Expression) -> pa.Table:
    try:
        return ds.dataset(str(path), schema=SCHEMAS[KIND], format="parquet").to_table(columns=columns, filter=chosen)
    except (pa.ArrowException, OSError) as why:
        raise BadHistory(f"{path}: cannot be read as Parquet: {why}") from why


def _ranges(paths: list[Path], most_rows: int) -> Iterator[Nodes]:
    """Of names that follow each other: a file is sorted by them, and what is outside is not even read."""
    counts = Counter[str]()
    for path in paths:
        for one in _rows(path, ["node"], ds.scalar(True)).column("node").value_counts().to_pylist():
            counts[one["values"]] += one["counts"]
    first, rows, last = "", 0, ""
    for name in sorted(counts):
        if rows and rows + counts[name] > most_rows:
            yield Nodes(first, last)
            rows = 0
        first, rows, last = first if rows else name, rows + counts[name], name
    yield Nodes(first, last)
