"""Writes a telemetry record. Standard library and protobuf only: the agent's side."""

import sys
from array import array
from collections.abc import Iterable, Sequence

from gpuwarden.proto.catalogue import Device, Metric
from gpuwarden.proto.telemetry_pb2 import Block, DeviceEvent, DeviceKind, GpuProcess, Telemetry

VERSION = 1
COMM_VERSION = 1


def encode_block(device: Device, ids: Sequence[str], metrics: Sequence[Metric], rows: Iterable[Sequence[float]]) -> Block:
    """One device kind: `rows` has a row for each id and in it a float for each metric, NaN where there is no reading."""
    values = array("f")
    for row in rows:
        assert len(row) == len(metrics), f"{len(row)} values for {len(metrics)} metrics"
        values.extend(row)
    assert len(values) == len(ids) * len(metrics), f"{len(values)} values for {len(ids)} devices"
    if sys.byteorder == "big":
        values.byteswap()
    numbers = [metric.number for metric in metrics]
    return Block(kind=DeviceKind.ValueType(device.value), device_ids=ids, metrics=numbers, values=values.tobytes())


def encode(
    node: str,
    agent_start: str,
    sequence: int,
    unix_ns: int,
    blocks: Iterable[Block],
    processes: Iterable[GpuProcess] = (),
    events: Iterable[DeviceEvent] = (),
) -> bytes:
    """One pass over a node, ready for the bus."""
    return Telemetry(
        version=VERSION, node=node, agent_start=agent_start, sequence=sequence, unix_ns=unix_ns,
        blocks=blocks, processes=processes, events=events,
    ).SerializeToString()
