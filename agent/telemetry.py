"""Readings to the blocks of a telemetry record."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gpuwarden.agent.reading import DeviceReading
from gpuwarden.proto.catalogue import COLUMNS, Device, Kind
from gpuwarden.proto.encode import encode_block
from gpuwarden.proto.telemetry_pb2 import Block, Telemetry

COUNTERS = {metric.name for metrics in COLUMNS.values() for metric in metrics if metric.kind is Kind.COUNTER}


class Increases:
    """Counters as their increase since the first reading: a float32 holds that exactly for long, a life's total not.

    A counter that falls has been reset by a driver or a reboot; it goes on from where it was.
    """

    def __init__(self) -> None:
        self._last: dict[tuple[str, str], float] = {}
        self._sum: dict[tuple[str, str], float] = {}

    def of(self, device: DeviceReading) -> Mapping[str, float]:
        """The device's values, counters replaced."""
        return {
            name: self._increase((device.id, name), value) if name in COUNTERS else value
            for name, value in device.values.items()
        }

    def _increase(self, key: tuple[str, str], value: float) -> float:
        if math.isnan(value):
            return value
        step = value - self._last.get(key, value)
        self._last[key] = value
        self._sum[key] = self._sum.get(key, 0.0) + (step if step >= 0 else value)
        return self._sum[key]


def blocks(devices: Iterable[tuple[DeviceReading, Mapping[str, float]]]) -> list[Block]:
    """One block a kind of device, with a column for each metric that any of its devices has.

    A device that two collectors read, as host and BMC do, is one row.
    """
    by_kind: dict[Device, dict[str, _Row]] = {}
    for device, values in devices:
        row = by_kind.setdefault(device.device, {}).setdefault(device.id, _Row(device.index, {}))
        row.values.update(values)
    return [_block(kind, rows) for kind, rows in by_kind.items()]


@dataclass(frozen=True, slots=True)
class _Row:
    index: int
    values: dict[str, float]


def _block(kind: Device, by_id: Mapping[str, _Row]) -> Block:
    rows = sorted(by_id.items(), key=lambda row: row[1].index)
    metrics = [metric for metric in COLUMNS[kind] if any(metric.name in row.values for _, row in rows)]
    table = [[row.values.get(metric.name, math.nan) for metric in metrics] for _, row in rows]
    return encode_block(kind, [device_id for device_id, _ in rows], metrics, table)


def events_only(payload: bytes) -> bytes:
    """The same record, which tells of its device events and no longer of readings: some hundred bytes of many thousand."""
    record = Telemetry.FromString(payload)
    record.ClearField("blocks")
    record.ClearField("processes")
    return record.SerializeToString()
