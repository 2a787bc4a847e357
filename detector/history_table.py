"""Telemetry as Arrow tables: a wide one for each kind of device, and one for what devices told of.

A metric without a reading is null. Of processes a GPU's row has the jobs that they belong to.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]  # has no types

from gpuwarden.detector.history_jobs import FIELD, Jobs, column
from gpuwarden.proto.catalogue import COLUMNS, Device
from gpuwarden.proto.decode import Matrix, Sample

EVENT: Final = "event"
VERSION: Final = b"1"  # of the files; a reader refuses one that it does not know. Columns may be added without another
VERSION_KEY: Final = b"gpuwarden_history"
_HEAD: Final = (("node", pa.string()), ("agent_start", pa.string()), ("sequence", pa.uint64()), ("unix_ns", pa.uint64()))
_DEVICE_ID: Final = ("device_id", pa.string())
NEEDED: Final = frozenset(name for name, _ in (*_HEAD, _DEVICE_ID))
"""Columns that every file has. Another that is missing is one that its writer did not know yet."""
# `place` is where an event stood in its record: the same thing may happen twice between two passes.
_EVENT: Final = (_DEVICE_ID, ("place", pa.uint32()), ("event", pa.string()), ("code", pa.int64()), ("message", pa.string()))


def _wide(device: Device) -> pa.Schema:
    metrics = [pa.field(m.name, pa.float32(), metadata={"number": str(m.number), "meaning": m.meaning}) for m in COLUMNS[device]]
    return _schema([*_HEAD, _DEVICE_ID, *metrics, *([FIELD] if device is Device.GPU else [])])


def _schema(fields: Sequence[Any]) -> pa.Schema:
    return pa.schema(fields, {VERSION_KEY: VERSION})


DEVICES: Final[Mapping[str, Device]] = MappingProxyType({device.name.lower(): device for device in Device})
SCHEMAS: Final[Mapping[str, pa.Schema]] = MappingProxyType(
    {kind: _wide(device) for kind, device in DEVICES.items()} | {EVENT: _schema([*_HEAD, *_EVENT])}
)
_PROCESSES: Final = [metric.name for metric in COLUMNS[Device.GPU]].index("gpu_processes")


@dataclass(frozen=True, slots=True)
class Kept:
    """A sample, and whose jobs its processes were: those keep their whole message in memory, so that the sample is without."""

    sample: Sample
    jobs: Jobs


def tables(samples: Sequence[Kept]) -> Iterator[tuple[str, pa.Table]]:
    """(kind, table) for each kind that the samples have rows of; rows in the order of node and time."""
    ordered = sorted(samples, key=lambda kept: (kept.sample.node, kept.sample.unix_ns))
    made = [(kind, _readings(kind, device, ordered)) for kind, device in DEVICES.items()]
    yield from ((kind, table) for kind, table in [*made, (EVENT, _events([kept.sample for kept in ordered]))] if table.num_rows)


def _readings(kind: str, device: Device, samples: Sequence[Kept]) -> pa.Table:
    parts = [(kept, readings) for kept in samples for readings in kept.sample.readings if readings.device is device]
    rows = [(kept, device_id) for kept, readings in parts for device_id in readings.ids]
    empty = np.empty((0, len(COLUMNS[device])), np.float32)
    values = np.concatenate([empty, *(readings.values for _, readings in parts)])
    columns = [pa.array(np.ascontiguousarray(value), from_pandas=True) for value in values.T]  # from_pandas: NaN is null
    if device is Device.GPU:
        counted = zip(rows, values[:, _PROCESSES], strict=True)
        columns.append(column((kept.jobs, device_id, processes) for (kept, device_id), processes in counted))
    head = _head([kept.sample for kept, _ in rows])
    return pa.table([*head, pa.array([i for _, i in rows], pa.string()), *columns], SCHEMAS[kind])


def _events(samples: Sequence[Sample]) -> pa.Table:
    rows = [(sample, place, event) for sample in samples for place, event in enumerate(sample.events)]
    told = [(event.device_id, place, event.kind, event.code, event.message) for _, place, event in rows]
    columns = [pa.array([row[i] for row in told], kind) for i, (_, kind) in enumerate(_EVENT)]
    return pa.table([*_head([sample for sample, *_ in rows]), *columns], SCHEMAS[EVENT])


def _head(samples: Sequence[Sample]) -> list[Any]:
    return [pa.array([getattr(sample, name) for sample in samples], kind) for name, kind in _HEAD]


def matrix(table: pa.Table, device: Device) -> Matrix:
    """The metrics of a device kind's table: (rows, catalogue columns) float32, NaN where there is no reading."""
    columns = [table.column(metric.name).to_numpy() for metric in COLUMNS[device]]
    return np.stack(columns, axis=1).astype(np.float32, copy=False)
