"""The load of bench/score.py: the vector of bench/load.py, in which all varies but states and errors; and two days of its minutes, to learn from."""

from typing import Final

import numpy as np
from load import GPUS, METRICS, NodeLoad
from numpy.typing import NDArray

from gpuwarden.detector.health.features import COLUMN_OF
from gpuwarden.detector.past.block import LeftOut, Past
from gpuwarden.detector.past.features import FEATURES
from gpuwarden.proto.catalogue import Device, Kind, Metric
from gpuwarden.proto.encode import encode
from gpuwarden.proto.telemetry_pb2 import Block, DeviceKind

Values = NDArray[np.float32]

NOISE: Final = 0.01
LEVEL: Final = 100.0  # of what the load has as 0
TAUGHT_MINUTES: Final = 2880
_STEADY: Final = ("ecc", "remapped", "throttle", "errors", "drops", "governor", "limit", "uptime")


def varies(metric: Metric) -> bool:
    return metric.kind is not Kind.STATE and not any(word in metric.name for word in _STEADY)


class Rows:
    """Readings of all nodes, a pass after the other. `ill`: one node in a thousand has all its cards at 1.3 times of all."""

    def __init__(self, nodes: int) -> None:
        loads = [NodeLoad(number) for number in range(nodes)]
        self.names = [load.name for load in loads]
        self.ids = [load._ids for load in loads]
        self.cards = [tuple(ids[Device.GPU]) for ids in self.ids]
        self.ill = False
        self._chance = np.random.default_rng(1)
        self._sequence = 0
        self._level = {device: self._levels(device, loads[0]) for device in METRICS}
        self._counters = {device: np.array([m.kind is Kind.COUNTER and varies(m) for m in metrics]) for device, metrics in METRICS.items()}
        self._varies = {device: np.array([varies(m) for m in metrics]) for device, metrics in METRICS.items()}
        self._total = {device: np.zeros((nodes, len(loads[0]._ids[device]), len(metrics)), np.float32) for device, metrics in METRICS.items()}

    def _levels(self, device: Device, load: NodeLoad) -> Values:
        first = np.array(load.rows()[device][0], np.float32)
        return np.where([varies(m) and not value for m, value in zip(METRICS[device], first, strict=True)], np.float32(LEVEL), first)

    def now(self, device: Device) -> Values:
        """(nodes, devices, metrics), counters as rates: all swing with the node's load, and each a little by itself."""
        shape = self._total[device].shape
        swing = 1 + NOISE * (self._chance.standard_normal((shape[0], 1, 1)) + self._chance.standard_normal(shape, np.float32))
        now = np.where(self._varies[device], self._level[device] * swing, self._level[device]).astype(np.float32)
        if self.ill and device is Device.GPU:
            now[::1000] *= np.where(self._varies[device], np.float32(1.3), np.float32(1))
        return now

    def _read(self, device: Device, passed_s: float) -> Values:
        now = self.now(device)
        self._total[device] += np.where(self._counters[device], np.float32(passed_s) * now, 0)
        return np.where(self._counters[device], self._total[device], now)

    def payloads(self, unix_ns: int, passed_s: float) -> list[bytes]:
        """A record of every node, `passed_s` after the one before."""
        self._sequence += 1
        made = {device: self._read(device, passed_s) for device in METRICS}
        numbers = {device: [metric.number for metric in metrics] for device, metrics in METRICS.items()}

        def record(node: int) -> bytes:
            blocks = [
                Block(kind=DeviceKind.ValueType(device.value), device_ids=self.ids[node][device], metrics=numbers[device], values=made[device][node].tobytes())
                for device in METRICS
            ]  # fmt: skip
            return encode(self.names[node], "a3f1c09b77e2d154", self._sequence, unix_ns, blocks)

        return [record(node) for node in range(len(self.names))]


def history(nodes: int) -> Past:
    """Minutes of as many nodes under the same load."""
    rows = Rows(nodes)
    values = np.full((nodes, TAUGHT_MINUTES, len(FEATURES)), np.nan, np.float32)
    for minute in range(TAUGHT_MINUTES):
        _fill(values[:, minute], rows)
    return Past(tuple(rows.names), np.arange(TAUGHT_MINUTES), values, LeftOut(), tuple(rows.cards))


def _fill(block: Values, rows: Rows) -> None:
    for device in (Device.GPU, Device.HOST):
        now = rows.now(device)
        for place, metric in enumerate(METRICS[device]):
            for card in range(GPUS) if device is Device.GPU else (None,):
                name = metric.name if card is None else f"{metric.name}[{card}]"
                if name in COLUMN_OF:
                    block[:, COLUMN_OF[name]] = now[:, card or 0, place]

