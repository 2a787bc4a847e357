"""Samples on their way: what agents read of the cards, what the detector consumed, what the recorder wrote.

A simulated card answers a power read with whole watts and, in the milliwatts, the count of its reads: each reading is known again
wherever it turns up.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from chaos.row import Row
from gpuwarden.core.eventlog import read_steps
from gpuwarden.core.plain import Reader
from gpuwarden.detector import events as detector_events
from gpuwarden.detector.history_read import read
from gpuwarden.proto.catalogue import COLUMNS, Device
from gpuwarden.proto.decode import decode

POWER = next(place for place, metric in enumerate(COLUMNS[Device.GPU]) if metric.name == "gpu_power_watts")
FOREVER_NS = 1 << 62


@dataclass(frozen=True, slots=True)
class Reading:
    """One card's answer to an agent, at a CLOCK_BOOTTIME."""

    now_s: float
    node: str
    gpu: int
    value_mw: int

    @property
    def key(self) -> tuple[str, int, int]:
        return self.node, self.gpu, self.value_mw


def read_by_agents(row: Row) -> list[Reading]:
    """From the cards' own log. Agents alone ask for the average too, which tells their processes from the limiters'."""
    made = []
    for node, gpus in row.gpus.items():
        reads = gpus.power_reads()
        agents = {one.pid for one in reads if one.kind == "average"}
        made += [Reading(one.time_ns / 1e9, node, one.gpu, one.value_mw) for one in reads if one.kind == "instant" and one.pid in agents]
    return made


def consumed(row: Row) -> Counter[tuple[str, int, int]]:
    """Readings in the detectors' event logs, each sample once."""
    reader = Reader((*detector_events.Event.__args__, detector_events.Raw))
    steps = (step for log in row.events.glob("detector-*.jsonl") for step in read_steps(log, reader))
    payloads = (raw.payload for step in steps if isinstance(step.event, detector_events.Polled) for raw in step.event.records)
    return Counter(_keys(payloads))


def _keys(payloads: Iterator[bytes]) -> Iterator[tuple[str, int, int]]:
    known = set()
    for sample in map(decode, payloads):
        if (mark := (sample.agent_start, sample.sequence)) in known:
            continue
        known.add(mark)
        for readings in sample.readings:
            if readings.device is Device.GPU:
                yield from _cards(sample.node, readings.ids, readings.values[:, POWER])


def recorded(history: Path, nodes: tuple[str, ...]) -> Counter[tuple[str, int, int]]:
    """Readings in the recorder's files, each row once."""
    tables = ((node, read(history, "gpu", node, 0, FOREVER_NS)) for node in nodes)
    return Counter(
        key for node, table in tables
        for key in _cards(node, tuple(table.column("device_id").to_pylist()), table.column("gpu_power_watts").to_numpy())
    )


def _cards(node: str, ids: tuple[str, ...], power_w: np.ndarray[tuple[int], np.dtype[np.float32]]) -> Iterator[tuple[str, int, int]]:
    for card, watts in zip(ids, power_w, strict=True):
        if not np.isnan(watts):
            yield node, int(card[-12:], 16), round(1000 * float(watts))
