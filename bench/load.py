"""Node samples as agents would send them: eight cards with 32 metrics, a host with 30, a port with 12."""

import random
from collections.abc import Iterator, Sequence
from typing import Final

from gpuwarden.proto.catalogue import COLUMNS, Device, Metric
from gpuwarden.proto.encode import encode, encode_block

PERIOD_NS: Final = 1_000_000_000
EPOCH_NS: Final = 1_700_000_000_000_000_000
GPUS: Final = 8
METRICS: Final[dict[Device, tuple[Metric, ...]]] = {
    Device.GPU: COLUMNS[Device.GPU][:32],
    Device.HOST: COLUMNS[Device.HOST][:30],
    Device.NIC: COLUMNS[Device.NIC][:12],
}
_STEADY: Final = {
    "gpu_power_watts": 640.0, "gpu_power_limit_enforced_watts": 700.0, "gpu_sm_clock_hertz": 1.9e9, "gpu_utilization_ratio": 0.99,
    "gpu_temperature_celsius": 61.0, "gpu_memory_temperature_celsius": 70.0, "host_uptime_seconds": 1e6, "nic_link_up": 1.0,
    "nic_rate_bits_per_second": 4e11, "host_cpu_governor_performance_ratio": 1.0,
}
_NOISY: Final = {"gpu_power_watts": 8.0, "gpu_sm_clock_hertz": 5e6, "gpu_temperature_celsius": 0.5, "host_load1": 2.0}

Rows = list[list[float]]


class NodeLoad:
    """One healthy node under load, from a seed."""

    def __init__(self, number: int) -> None:
        self.name = f"gpu{number:05d}"
        self._chance = random.Random(number)
        self._ids = {
            Device.GPU: [f"GPU-{number:08x}-0000-4000-8000-{i:012x}" for i in range(GPUS)],
            Device.HOST: [self.name],
            Device.NIC: ["mlx5_0/1"],
        }
        self._sequence = 0

    def rows(self) -> dict[Device, Rows]:
        """What collectors have read: a float for each metric of each device."""
        return {device: [self._row(metrics) for _ in self._ids[device]] for device, metrics in METRICS.items()}

    def _row(self, metrics: Sequence[Metric]) -> list[float]:
        return [_STEADY.get(m.name, 0.0) + self._chance.gauss(0, _NOISY[m.name]) if m.name in _NOISY else _STEADY.get(m.name, 0.0)
                for m in metrics]

    def encode(self, rows: dict[Device, Rows]) -> bytes:
        self._sequence += 1
        blocks = [encode_block(device, self._ids[device], METRICS[device], rows[device]) for device in METRICS]
        return encode(self.name, "a3f1c09b77e2d154", self._sequence, EPOCH_NS + self._sequence * PERIOD_NS, blocks)


def passes(nodes: Sequence[NodeLoad], count: int) -> Iterator[list[tuple[NodeLoad, dict[Device, Rows]]]]:
    """`count` times a reading of every node."""
    for _ in range(count):
        yield [(node, node.rows()) for node in nodes]
