"""The rows of a history in parts that fit into memory, in order of time."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Final, NamedTuple

import pyarrow as pa  # type: ignore[import-untyped]  # has no types
import pyarrow.dataset as ds  # type: ignore[import-untyped]  # has no types

from gpuwarden.detector.history_door import BadHistory, rows_of
from gpuwarden.detector.history_file import files
from gpuwarden.detector.history_table import SCHEMAS

MOST_ROWS: Final = 1 << 18  # of one part: an hour of nine nodes with eight cards each, read once a second


class Nodes(NamedTuple):
    """A range of names, both ends in it; None: all."""

    first: str | None = None
    last: str | None = None


class Wanted(NamedTuple):
    """Which rows: `kind` is one of SCHEMAS. Of all nodes, or of some."""

    kind: str
    columns: Sequence[str]
    start_ns: int
    end_ns: int
    nodes: Sequence[str] | None = None


def parts(folder: Path, wanted: Wanted, most_rows: int = MOST_ROWS) -> Iterator[pa.Table]:
    """Rows of [start_ns, end_ns), hour by hour; of an hour with more than `most_rows`, some nodes at a time.

    A node has all its rows of an hour in one part, in no order, repeats included. Raises BadHistory.
    """
    chosen = _chosen(wanted)
    among = files(folder, wanted.kind, wanted.start_ns, wanted.end_ns)
    for _, hour in groupby(among, key=lambda path: (path.parent.name, path.name[:2])):
        paths = list(hour)
        rows = sum(rows_of(path, wanted.kind) for path in paths)
        for nodes in _ranges(paths, wanted, most_rows) if rows > most_rows else [Nodes()]:
            yield pa.concat_tables([_rows(path, wanted.kind, wanted.columns, chosen & _among(nodes)) for path in paths])


def _chosen(wanted: Wanted) -> ds.Expression:
    time = ds.field("unix_ns")
    chosen = (time >= pa.scalar(wanted.start_ns, pa.uint64())) & (time < pa.scalar(wanted.end_ns, pa.uint64()))
    return chosen if wanted.nodes is None else chosen & ds.field("node").isin(list(wanted.nodes))


def _among(nodes: Nodes) -> ds.Expression:
    if nodes.first is None:
        return ds.scalar(True)
    return (ds.field("node") >= nodes.first) & (ds.field("node") <= nodes.last)


def _rows(path: Path, kind: str, columns: Sequence[str], chosen: ds.Expression) -> pa.Table:
    try:
        return ds.dataset(str(path), schema=SCHEMAS[kind], format="parquet").to_table(columns=list(columns), filter=chosen)
    except (pa.ArrowException, OSError) as why:
        raise BadHistory(f"{path}: cannot be read as Parquet: {why}") from why


def _ranges(paths: list[Path], wanted: Wanted, most_rows: int) -> Iterator[Nodes]:
    """Of names that follow each other: a file is sorted by them, and what is outside is not even read."""
    counts, chosen = Counter[str](), _chosen(wanted)
    for path in paths:
        for one in _rows(path, wanted.kind, ["node"], chosen).column("node").value_counts().to_pylist():
            counts[one["values"]] += one["counts"]
    first, rows, last = "", 0, ""
    for name in sorted(counts):
        if rows and rows + counts[name] > most_rows:
            yield Nodes(first, last)
            rows = 0
        first, rows, last = first if rows else name, rows + counts[name], name
    yield Nodes(first, last)
