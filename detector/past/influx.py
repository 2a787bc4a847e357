"""Past from an InfluxDB 2, by Flux: the server reduces readings to minutes, so that two hundredths of them travel."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]  # has no types
from influxdb_client.domain.dialect import Dialect
from pyarrow import csv

from gpuwarden.core.config import ConfigError, load
from gpuwarden.detector.history_config import InfluxConfig, RecorderConfig
from gpuwarden.detector.history_lines import AGENT_START, KINDS, RECORD, SEQUENCE
from gpuwarden.detector.influx import InfluxError, calling
from gpuwarden.detector.past.block import BadPast
from gpuwarden.detector.past.features import METRICS
from gpuwarden.detector.past.piece import HOUR_MINUTES, MINUTE_NS, Heads, Integers, Minutes, Piece, Span
from gpuwarden.detector.past.reduced import COUNTERS, GAUGES, SECOND_NS, heads_of, rates
from gpuwarden.proto.catalogue import Device, Metric

CALL_S: Final = 120.0
DEVICE_ID: Final = "device_id"
_TYPES: Final = {"node": pa.string(), "_field": pa.string(), DEVICE_ID: pa.string()}
_TIME: Final = pa.timestamp("ns", "UTC")
_BARE: Final = Dialect(header=True, annotations=[], delimiter=",", date_time_format="RFC3339Nano")  # type: ignore[no-untyped-call]  # the library has no types there


@contextmanager
def opened(where: str) -> Iterator["Bucket"]:
    """`where` is a file with an [influx] table."""
    try:
        config = load(Path(where), RecorderConfig).influx
    except ConfigError as why:
        raise BadPast(str(why)) from why
    if config is None:
        raise BadPast(f"{where}: influx: is missing, should be a table that says where the server is")
    yield Bucket(config)


class Bucket:
    """History in a bucket."""

    def __init__(self, config: InfluxConfig) -> None:
        self._config = config

    def nodes(self, span: Span) -> list[str]:
        alone = '|> first() |> keep(columns: ["node"]) |> group() |> distinct(column: "node") |> rename(columns: {_value: "node"})'
        found = self._asked(_from(self._config.bucket, span, RECORD, (SEQUENCE,)) + alone, pa.int64())
        return sorted(found.column("node").to_pylist()) if found.num_rows else []

    def pieces(self, nodes: Sequence[str], span: Span) -> Iterator[Piece]:
        hours = range(span.first - span.first % HOUR_MINUTES, span.end, HOUR_MINUTES)
        for done, (first, (place, name)) in enumerate(product(hours, enumerate(nodes)), 1):
            hour = Span(max(first, span.first), min(first + HOUR_MINUTES, span.end))
            minutes = (self._minutes(device, name, place, hour) for device in METRICS)
            made = tuple(one for one in minutes if len(one.minute))
            yield Piece(self._heads(name, place, hour), made, done / (len(hours) * len(nodes)))

    def _heads(self, node: str, place: int, hour: Span) -> Heads:
        asked = _from(self._config.bucket, hour, RECORD, (SEQUENCE, AGENT_START), node)
        found = self._asked(f'{asked} |> group() |> keep(columns: ["_time", "_field", "_value"])', pa.int64())
        sequence, start = (_series(found, name) for name in (SEQUENCE, AGENT_START))
        unix_ns, of_sequence, of_start = np.intersect1d(sequence[0], start[0], return_indices=True)
        return heads_of(np.full(len(unix_ns), place), start[1][of_start], sequence[1][of_sequence], unix_ns)

    def _minutes(self, device: Device, node: str, place: int, hour: Span) -> Minutes:
        counters, gauges = ([METRICS[device][i] for i in columns[device]] for columns in (COUNTERS, GAUGES))
        means = self._reduced(device, node, hour, gauges, "mean", "_start")
        first, last = (self._reduced(device, node, hour, counters, name, "_time") for name in ("first", "last"))
        rows = sorted({(name, minute) for one in (means, first) for name, minute in one.rows()})
        return _joined(device, place, rows, means, first, last)

    def _reduced(self, device: Device, node: str, hour: Span, metrics: Sequence[Metric], how: str, time: str) -> "_Cells":
        asked = _from(self._config.bucket, hour, KINDS[device], [metric.name for metric in metrics], node)
        kept = json.dumps([DEVICE_ID, "_field", time, "_value"])
        return _Cells(self._asked(f"{asked} |> window(every: 1m) |> {how}() |> group() |> keep(columns: {kept})", pa.float64()), time)

    def _asked(self, flux: str, value: pa.DataType) -> pa.Table:
        """The rows; none where there are none. `value` is the type of the column _value."""
        try:
            with calling(self._config, CALL_S) as client:
                told = client.query_api().query_raw(flux, dialect=_BARE).read()
        except InfluxError as why:
            raise BadPast(str(why)) from why
        if not told.strip():
            return pa.table({})
        types = _TYPES | {"_time": _TIME, "_start": _TIME, "_value": value}
        try:
            found = csv.read_csv(pa.BufferReader(told), convert_options=csv.ConvertOptions(column_types=types))
        except pa.ArrowInvalid as why:
            raise BadPast(f"influx.url: {self._config.url} answers what is not the CSV that was asked for: {why}") from why
        if "error" in found.column_names:
            raise BadPast(f"influx.url: {self._config.url} cannot answer: {found.column('error')[0]}")
        return found


class _Cells:
    """What a query told, one row a cell: found by (device, minute)."""

    def __init__(self, found: pa.Table, time: str) -> None:
        names = (DEVICE_ID, "_field", "_value") if found.num_rows else ()
        device_id, field, value = (found.column(name).to_pylist() for name in names) if names else ([], [], [])
        self.unix_ns: Integers = _ns(found, time) if names else np.empty(0, np.int64)
        self.minute = self.unix_ns // MINUTE_NS
        self.value = np.array(value, np.float64)
        self.device_id: list[str] = device_id
        self.field: list[str] = field

    def rows(self) -> Iterator[tuple[str, int]]:
        yield from zip(self.device_id, self.minute.tolist(), strict=True)

    def table(self, row_of: dict[tuple[str, int], int], column_of: dict[str, int], cell: Any) -> Any:
        """(rows, columns) of `cell`, an array of one for each cell; NaN where there is none."""
        made = np.full((len(row_of), len(column_of)), np.nan)
        rows = np.array([row_of[row] for row in self.rows()], np.intp)
        made[rows, np.array([column_of[name] for name in self.field], np.intp)] = cell
        return made


def _joined(device: Device, place: int, rows: Sequence[tuple[str, int]], means: _Cells, first: _Cells, last: _Cells) -> Minutes:
    row_of = {row: number for number, row in enumerate(rows)}
    gauges, counters = ({METRICS[device][i].name: n for n, i in enumerate(columns[device])} for columns in (GAUGES, COUNTERS))
    values = np.full((len(rows), len(METRICS[device])), np.nan, np.float32)
    fell = np.zeros(values.shape, np.bool_)
    values[:, GAUGES[device]] = means.table(row_of, gauges, means.value)
    # As they were sent: a difference of nearly equal numbers shows what a text of theirs has rounded.
    begun, ended = (one.table(row_of, counters, one.value.astype(np.float32)) for one in (first, last))
    since_ns = first.unix_ns.min(initial=2**62)
    span_ns = last.table(row_of, counters, last.unix_ns - since_ns) - first.table(row_of, counters, first.unix_ns - since_ns)
    values[:, COUNTERS[device]], fell[:, COUNTERS[device]] = rates(ended - begun, span_ns / SECOND_NS)
    names = np.array([name for name, _ in rows], np.object_)
    return Minutes(device, np.full(len(rows), place), names, np.array([minute for _, minute in rows], np.int64), values, fell)


def _series(found: pa.Table, field: str) -> tuple[Integers, Integers]:
    """(times, values) of one field."""
    if not found.num_rows:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    mine = np.array(found.column("_field").to_pylist()) == field
    return _ns(found, "_time")[mine], found.column("_value").to_numpy()[mine]


def _ns(found: pa.Table, time: str) -> Integers:
    numbers: Integers = found.column(time).cast(pa.int64()).to_numpy()
    return numbers


def _from(bucket: str, span: Span, measurement: str, fields: Sequence[str], node: str | None = None) -> str:
    """Flux for these fields. Every condition is one that its storage looks up."""
    among = " or ".join(f"r._field == {_text(name)}" for name in fields)
    of_node = f" and r.node == {_text(node)}" if node is not None else ""
    return (
        f"from(bucket: {_text(bucket)}) |> range(start: time(v: {span.start_ns}), stop: time(v: {span.end_ns}))"
        f" |> filter(fn: (r) => r._measurement == {_text(measurement)}{of_node} and ({among}))"
    )


def _text(text: str) -> str:
    """As Flux quotes it; it has no escapes by number, and `${` begins an expression."""
    return json.dumps(text, ensure_ascii=False).replace("${", "\\${")
