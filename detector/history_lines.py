"""Telemetry in InfluxDB's line protocol: a point for each device and reading, and one for the record that they came in.

Measurements are `gpu`, `host` and `nic`, with the catalogue's metrics as fields, and `record`. Tags are `node` and, but for `record`,
`device_id`: as many series as there are devices. A point is named by measurement, tags and time, so that one that is
written twice is there once.
"""

from collections.abc import Iterator
from hashlib import blake2b
from typing import Final

import numpy as np

from gpuwarden.detector.history_table import DEVICES
from gpuwarden.proto.catalogue import COLUMNS, Device
from gpuwarden.proto.decode import Readings, Refused, Sample

RECORD: Final = "record"
SEQUENCE: Final = "record_sequence"
AGENT_START: Final = "record_agent_start"
MOST_NS: Final = 2**63 - 2  # InfluxDB's last time, and more than it takes for a whole number
KINDS: Final = {device: kind for kind, device in DEVICES.items()}
_FIELDS: Final = {device: [f"{metric.name}=" for metric in COLUMNS[device]] for device in Device}
_ESCAPED: Final = str.maketrans({",": "\\,", " ": "\\ ", "=": "\\="})


def check(sample: Sample) -> None:
    """Refused, with the field, for what lines cannot hold."""
    for field, number in (("unix_ns", sample.unix_ns), ("sequence", sample.sequence)):
        if number > MOST_NS:
            raise Refused(field, f"is {number}, InfluxDB takes at most {MOST_NS}")
    _check_name("node", sample.node)
    for readings in sample.readings:
        for device_id in readings.ids:
            _check_name("blocks.device_ids", device_id)


def _check_name(field: str, name: str) -> None:
    """A tag that is empty is none, and its backslashes mean something else before a comma or at its end."""
    if not name or not name.isprintable() or "\\" in name:
        raise Refused(field, f"holds {name!r}, which cannot be a tag of InfluxDB's: empty, a backslash, or a character that does not print")


def lines(sample: Sample) -> Iterator[tuple[str, str]]:
    """(measurement, line) of each point; a device without a reading has none. `check` has passed it."""
    node = sample.node.translate(_ESCAPED)
    yield RECORD, f"{RECORD},node={node} {SEQUENCE}={sample.sequence}i,{AGENT_START}={start_of(sample.agent_start)}i {sample.unix_ns}"
    for readings in sample.readings:
        yield from ((KINDS[readings.device], line) for line in _devices(readings, node, sample.unix_ns))


def start_of(agent_start: str) -> int:
    """A number of 48 bits that stands for a start of an agent: a float, which is all that VictoriaMetrics keeps, has it exactly."""
    return int.from_bytes(blake2b(agent_start.encode(), digest_size=6).digest())


def _devices(readings: Readings, node: str, unix_ns: int) -> Iterator[str]:
    measurement, names = KINDS[readings.device], _FIELDS[readings.device]
    known = ~np.isnan(readings.values)
    texts = readings.values.astype(np.str_)  # the shortest that is the same float32 again
    for device_id, row, there in zip(readings.ids, texts, known, strict=True):
        columns = np.flatnonzero(there).tolist()
        if columns:
            fields = ",".join(names[column] + row[column] for column in columns)
            yield f"{measurement},node={node},device_id={device_id.translate(_ESCAPED)} {fields} {unix_ns}"
