"""Reads a telemetry record, and checks it once, at the door: inside, a `Sample` is trusted."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias

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


class Readings(NamedTuple):
    """Devices of one kind. `values` is (devices, catalogue columns of the kind) float32, NaN where there is no reading."""

    device: Device
    ids: tuple[str, ...]
    values: Matrix


class Sample(NamedTuple):
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
    (read,) = decode_all((payload,))
    if isinstance(read, Refused):
        raise read
    return read


def decode_all(payloads: Iterable[bytes]) -> list[Sample | Refused]:
    """Of each the sample, or why it may not come in. Blocks of one layout are put into the catalogue's columns together: one by one that is most of the time."""
    together: dict[_Key, _Together] = {}
    opened = [_opened(payload, together) for payload in payloads]
    for one in together.values():
        one.arrange()
    spoilt = any(one.infinite is not None for one in together.values())
    return [
        read if isinstance(read, Refused) else Refused("blocks.values", "hold an infinity") if spoilt and _infinite(read[1]) else _sample(*read)
        for read in opened
    ]


def _opened(payload: bytes, together: "dict[_Key, _Together]") -> "tuple[Telemetry, list[_Place]] | Refused":
    try:
        if len(payload) > MAX_PAYLOAD_BYTES:
            raise Refused("payload", f"has {len(payload)} bytes, at most {MAX_PAYLOAD_BYTES} may come")
        message = Telemetry.FromString(payload)
        _check_head(message)
        places = [_place(block, together) for block in message.blocks]
        if len({one.layout.device for _, one, _ in places}) != len(places):
            raise Refused("blocks", "hold two blocks of one kind")
        return message, places
    except DecodeError as why:
        return Refused("payload", f"is not a Telemetry message: {why}")
    except Refused as why:
        return why


def _check_head(message: Telemetry) -> None:
    if message.version != VERSION:
        raise Refused("version", f"is {message.version}, this reader knows {VERSION}")
    for name, text in (("node", message.node), ("agent_start", message.agent_start)):
        if not 0 < len(text) <= MAX_NAME_CHARS:
            raise Refused(name, f"has {len(text)} characters, 1 to {MAX_NAME_CHARS} may come")
    if message.sequence == 0:
        raise Refused("sequence", "is 0, counting starts at 1")
    if len(message.events) > MAX_EVENTS:
        raise Refused("events", f"are {len(message.events)}, at most {MAX_EVENTS} may come")
    if len(message.processes) > MAX_EVENTS:
        raise Refused("processes", f"are {len(message.processes)}, at most {MAX_EVENTS} may come")
    for event in message.events:
        if len(event.device_id) > MAX_NAME_CHARS:
            raise Refused("events.device_id", f"has more than {MAX_NAME_CHARS} characters")


def _infinite(places: "Iterable[_Place]") -> bool:
    return any(one.infinite is not None and one.infinite[rows].any() for _, one, rows in places)


def _sample(message: Telemetry, places: "Iterable[_Place]") -> Sample:
    return Sample(
        message.node, message.agent_start, message.sequence, message.unix_ns,
        tuple([Readings(one.layout.device, ids, one.values[rows]) for ids, one, rows in places]), tuple(message.processes[:]), tuple(message.events[:]),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Layout:
    """The columns of a block that this reader knows, and where the catalogue has them."""

    device: Device
    known: Columns
    columns: Columns


@dataclass(slots=True)
class _Together:
    """All values of one layout: `values` is (devices, catalogue columns of the kind), `infinite` by device, None where there is none."""

    layout: _Layout
    parts: list[bytes] = field(default_factory=list)
    devices: int = 0
    values: Matrix = field(default_factory=lambda: np.empty((0, 0), np.float32))
    infinite: NDArray[np.bool_] | None = None

    def take(self, devices: int, values: bytes) -> slice:
        """Their rows."""
        self.parts.append(values)
        self.devices += devices
        return slice(self.devices - devices, self.devices)

    def arrange(self) -> None:
        told = np.frombuffer(b"".join(self.parts), "<f4").reshape(self.devices, -1) if self.devices else np.empty((0, 0), np.float32)
        self.values = np.full((self.devices, len(COLUMNS[self.layout.device])), np.nan, np.float32)
        if told.size:
            self.values[:, self.layout.columns] = told[:, self.layout.known]
        infinite = np.isinf(self.values)
        self.infinite = np.asarray(infinite.any(1)) if infinite.any() else None


_Key: TypeAlias = tuple[int, tuple[int, ...]]
_Place: TypeAlias = tuple[tuple[str, ...], _Together, slice]


def _place(block: Block, together: dict[_Key, _Together]) -> _Place:
    """Where its values are going to be; Refused."""
    ids, metrics, values = tuple(block.device_ids[:]), tuple(block.metrics[:]), block.values  # a slice is made at once, one by one takes twice as long
    if len(ids) > MAX_DEVICES:
        raise Refused("blocks.device_ids", f"are {len(ids)}, at most {MAX_DEVICES} may come")
    if len(set(ids)) != len(ids):
        raise Refused("blocks.device_ids", "hold one id twice")
    if ids and max(map(len, ids)) > MAX_NAME_CHARS:
        raise Refused("blocks.device_ids", f"hold one of more than {MAX_NAME_CHARS} characters")
    key = block.kind, metrics
    if (mine := together.get(key)) is None:
        mine = together[key] = _Together(_layout(*key))
    wanted = 4 * len(ids) * len(metrics)
    if len(values) != wanted:
        raise Refused("blocks.values", f"has {len(values)} bytes, {len(ids)} devices x {len(metrics)} metrics need {wanted}")
    return ids, mine, mine.take(len(ids), values)


@lru_cache(maxsize=1024)  # a fleet has a handful of layouts
def _layout(kind: int, metrics: tuple[int, ...]) -> _Layout:
    """A number that is in no catalogue yet comes from a newer agent: its column is left out, so that agents can go first."""
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
    return _Layout(device, np.array(known, np.intp), np.array([order[metrics[i]] for i in known], np.intp))
