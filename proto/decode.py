"""Reads a telemetry record, and checks it once, at the door: inside, a `Sample` is trusted."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeAlias

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from gpuwarden.proto.catalogue import BY_NUMBER, COLUMNS, Device
from gpuwarden.proto.encode import VERSION
from gpuwarden.proto.telemetry_pb2 import Block, DeviceEvent, GpuProcess, Telemetry

MAX_PAYLOAD_BYTES: Final = 1 << 20
MAX_DEVICES: Final = 256
MAX_EVENTS: Final = 1024
MAX_NAME_CHARS: Final = 253  # a DNS name's

Matrix: TypeAlias = NDArray[np.float32]
Columns: TypeAlias = NDArray[np.intp]


class Refused(Exception):
    """A record that may not come in: the field, and what is wrong with it."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Readings:
    """Devices of one kind. `values` is (devices, catalogue columns of the kind) float32, NaN where there is no reading."""

    device: Device
    ids: tuple[str, ...]
    values: Matrix


@dataclass(frozen=True, slots=True)
class Sample:
    """One pass over a node, checked."""

    node: str
    agent_start: str
    sequence: int
    unix_ns: int
    readings: tuple[Readings, ...]
    processes: tuple[GpuProcess, ...]
    events: tuple[DeviceEvent, ...]


def decode(payload: bytes) -> Sample:
    """The sample, or Refused."""
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise Refused("payload", f"has {len(payload)} bytes, at most {MAX_PAYLOAD_BYTES} may come")
    try:
        message = Telemetry.FromString(payload)
    except DecodeError as why:
        raise Refused("payload", f"is not a Telemetry message: {why}") from None
    _check_head(message)
    return Sample(
        message.node, message.agent_start, message.sequence, message.unix_ns,
        _readings(message.blocks), tuple(message.processes), tuple(message.events),
    )


def _check_head(message: Telemetry) -> None:
    if message.version != VERSION:
        raise Refused("version", f"is {message.version}, this reader knows {VERSION}")
    for field, text in (("node", message.node), ("agent_start", message.agent_start)):
        if not 0 < len(text) <= MAX_NAME_CHARS:
            raise Refused(field, f"has {len(text)} characters, 1 to {MAX_NAME_CHARS} may come")
    if message.sequence == 0:
        raise Refused("sequence", "is 0, counting starts at 1")
    if len(message.events) > MAX_EVENTS:
        raise Refused("events", f"are {len(message.events)}, at most {MAX_EVENTS} may come")
    if len(message.processes) > MAX_EVENTS:
        raise Refused("processes", f"are {len(message.processes)}, at most {MAX_EVENTS} may come")


def _readings(blocks: Iterable[Block]) -> tuple[Readings, ...]:
    readings = tuple(_block(block) for block in blocks)
    if len({r.device for r in readings}) != len(readings):
        raise Refused("blocks", "hold two blocks of one kind")
    return readings


def _block(block: Block) -> Readings:
    ids, metrics = tuple(block.device_ids), tuple(block.metrics)
    if len(ids) > MAX_DEVICES:
        raise Refused("blocks.device_ids", f"are {len(ids)}, at most {MAX_DEVICES} may come")
    if len(set(ids)) != len(ids):
        raise Refused("blocks.device_ids", "hold one id twice")
    device, known, columns = _layout(block.kind, metrics)
    wanted = 4 * len(ids) * len(metrics)
    if len(block.values) != wanted:
        raise Refused("blocks.values", f"has {len(block.values)} bytes, {len(ids)} devices x {len(metrics)} metrics need {wanted}")
    values = np.full((len(ids), len(COLUMNS[device])), np.nan, np.float32)
    values[:, columns] = np.frombuffer(block.values, "<f4").reshape(len(ids), len(metrics))[:, known]
    if np.isinf(values).any():
        raise Refused("blocks.values", "hold an infinity")
    return Readings(device, ids, values)


@lru_cache(maxsize=1024)  # a fleet has a handful of layouts
def _layout(kind: int, metrics: tuple[int, ...]) -> tuple[Device, Columns, Columns]:
    """The device kind, the columns of the block that this reader knows, and where the catalogue has them.

    A number that is in no catalogue yet comes from a newer agent: its column is left out, so that agents can go first.
    """
    try:
        device = Device(kind)
    except ValueError:
        raise Refused("blocks.kind", f"{kind} is not known") from None
    if len(set(metrics)) != len(metrics):
        raise Refused("blocks.metrics", "hold one number twice")
    order = {metric.number: column for column, metric in enumerate(COLUMNS[device])}
    for number in metrics:
        if number in BY_NUMBER and number not in order:
            raise Refused("blocks.metrics", f"{number} is {BY_NUMBER[number].name}, which is not of a {device.name}")
    known = [i for i, number in enumerate(metrics) if number in order]
    return device, np.array(known, np.intp), np.array([order[metrics[i]] for i in known], np.intp)
