"""Telemetry as Arrow tables: a wide one for each kind of device, and one for what devices told of.

Processes are not in it. A metric without a reading is null.
"""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]  # has no types

from gpuwarden.proto.catalogue import COLUMNS, Device
from gpuwarden.proto.decode import Matrix, Sample

EVENT: Final = "event"
_HEAD: Final = (("node", pa.string()), ("agent_start", pa.string()), ("sequence", pa.uint64()), ("unix_ns", pa.uint64()))
_DEVICE_ID: Final = ("device_id", pa.string())
# `place` is where an event stood in its record: the same thing may happen twice between two passes.
_EVENT: Final = (_DEVICE_ID, ("place", pa.uint32()), ("event", pa.string()), ("code", pa.int64()), ("message", pa.string()))


def _wide(device: Device) -> pa.Schema:
    metrics = [pa.field(m.name, pa.float32(), metadata={"number": str(m.number), "meaning": m.meaning}) for m in COLUMNS[device]]
    return pa.schema([*_HEAD, _DEVICE_ID, *metrics])


DEVICES: Final[Mapping[str, Device]] = MappingProxyType({device.name.lower(): device for device in Device})
SCHEMAS: Final[Mapping[str, pa.Schema]] = MappingProxyType(
    {kind: _wide(device) for kind, device in DEVICES.items()} | {EVENT: pa.schema([*_HEAD, *_EVENT])}
)


def tables(samples: Sequence[Sample]) -> Iterator[tuple[str, pa.Table]]:
    """(kind, table) for each kind that the samples have rows of; rows in the order of node and time."""
    ordered = sorted(samples, key=lambda sample: (sample.node, sample.unix_ns))
    made = [(kind, _readings(kind, device, ordered)) for kind, device in DEVICES.items()]
    yield from ((kind, table) for kind, table in [*made, (EVENT, _events(ordered))] if table.num_rows)


def _readings(kind: str, device: Device, samples: Sequence[Sample]) -> pa.Table:
    parts = [(sample, readings) for sample in samples for readings in sample.readings if readings.device is device]
    rows = [(sample, device_id) for sample, readings in parts for device_id in readings.ids]
    empty = np.empty((0, len(COLUMNS[device])), np.float32)
    values = np.concatenate([empty, *(readings.values for _, readings in parts)])
    columns = [pa.array(np.ascontiguousarray(column), from_pandas=True) for column in values.T]  # from_pandas: NaN is null
    return pa.table([*_head([sample for sample, _ in rows]), pa.array([i for _, i in rows], pa.string()), *columns], SCHEMAS[kind])


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
