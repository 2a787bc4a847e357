"""Looks at a file of the history once, before it is read: that it is Parquet, of a known version, its columns as they should be."""

from pathlib import Path

import pyarrow as pa  # type: ignore[import-untyped]  # has no types
import pyarrow.parquet as pq  # type: ignore[import-untyped]  # has no types

from gpuwarden.detector.history_table import NEEDED, SCHEMAS, VERSION, VERSION_KEY


class BadHistory(ValueError):
    """A file of the history cannot be read: which, what of it, and why."""


def rows_of(path: Path, kind: str) -> int:
    """How many it has. `kind` is one of SCHEMAS. Raises BadHistory."""
    try:
        with pq.ParquetFile(path) as file:
            rows, schema = int(file.metadata.num_rows), file.schema_arrow
    except (pa.ArrowException, OSError) as why:
        raise BadHistory(f"{path}: cannot be read as Parquet: {why}") from why
    version = (schema.metadata or {}).get(VERSION_KEY, VERSION)  # files from before there was one are of the first
    if version != VERSION:
        raise BadHistory(f"{path}: version: is {version.decode(errors='replace')}, this reader knows {VERSION.decode()}")
    for field in SCHEMAS[kind]:
        _check(path, schema, field)
    return rows


def _check(path: Path, schema: pa.Schema, field: pa.Field) -> None:
    at = schema.get_field_index(field.name)  # -1 as well where two have the name
    if at < 0 and (field.name in NEEDED or field.name in schema.names):
        raise BadHistory(f"{path}: {field.name}: is there {schema.names.count(field.name)} times, should be once")
    if at >= 0 and schema.field(at).type != field.type:
        raise BadHistory(f"{path}: {field.name}: is of type {schema.field(at).type}, should be {field.type}")
