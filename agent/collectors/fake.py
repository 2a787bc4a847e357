"""A node that is not there: plausible GPUs and ports, the same for the same seed. For trying things out."""

import math
from collections.abc import Iterator
from random import Random
from typing import Final

from gpuwarden.agent.config import AgentConfig, FakeConfig
from gpuwarden.agent.reading import DeviceReading, Reading
from gpuwarden.proto.catalogue import Device

_PERIOD: Final = 60  # passes of one wave of load
_IDLE_W, _BUSY_W, _LIMIT_W = 70.0, 620.0, 700.0
_MEMORY_BYTES: Final = 80 * 1024**3
_LINK_BYTES: Final = 20e9  # a pass, at full load


class Fake:
    """Each pass is one step of a wave of load, with a little noise."""

    name = "fake"

    def __init__(self, node: str, config: FakeConfig) -> None:
        self._node, self._config = node, config
        self._random = Random(f"{config.seed} {node}")
        self._passes = 0
        self._energy_j = [0.0] * config.gpus
        self._bytes = [0.0] * config.nics

    def collect(self) -> Reading:
        self._passes += 1
        return Reading((*self._gpus(), *self._nics()))

    def close(self) -> None:
        pass

    def _load(self) -> float:
        """0 to 1."""
        wave = 0.5 - 0.5 * math.cos(2 * math.pi * self._passes / _PERIOD)
        return min(1.0, max(0.0, wave + self._random.gauss(0.0, 0.02)))

    def _gpus(self) -> Iterator[DeviceReading]:
        for index in range(self._config.gpus):
            load = self._load()
            power_w = _IDLE_W + (_BUSY_W - _IDLE_W) * load
            self._energy_j[index] += power_w
            yield DeviceReading(Device.GPU, f"GPU-fake-{self._node}-{index}", index, {
                "gpu_power_watts": power_w,
                "gpu_power_average_watts": power_w,
                "gpu_power_limit_default_watts": _LIMIT_W,
                "gpu_power_limit_requested_watts": _LIMIT_W,
                "gpu_power_limit_enforced_watts": _LIMIT_W,
                "gpu_power_limit_min_watts": 200.0,
                "gpu_power_limit_max_watts": _LIMIT_W,
                "gpu_energy_joules_total": self._energy_j[index],
                "gpu_sm_clock_hertz": 345e6 + 1635e6 * min(1.0, 3 * load),
                "gpu_sm_clock_max_hertz": 1980e6,
                "gpu_utilization_ratio": load,
                "gpu_memory_used_bytes": _MEMORY_BYTES * (0.05 + 0.85 * load),
                "gpu_memory_total_bytes": float(_MEMORY_BYTES),
                "gpu_temperature_celsius": 32.0 + 38.0 * load,
                "gpu_throttle_reasons": 0.0 if load > 0.05 else 1.0,
                "gpu_ecc_uncorrected_volatile_total": 0.0,
                "gpu_nvlink_active_links": 18.0,
                "gpu_pcie_generation": 5.0,
                "gpu_pcie_width_lanes": 16.0,
                "gpu_xid_errors_total": 0.0,
                "gpu_lost": 0.0,
            })

    def _nics(self) -> Iterator[DeviceReading]:
        for index in range(self._config.nics):
            self._bytes[index] += _LINK_BYTES * self._load()
            yield DeviceReading(Device.NIC, f"mlx5_{index}/1", index, {
                "nic_link_up": 1.0,
                "nic_rate_bits_per_second": 400e9,
                "nic_receive_bytes_total": self._bytes[index],
                "nic_transmit_bytes_total": self._bytes[index],
                "nic_link_downed_total": 0.0,
                "nic_symbol_errors_total": 0.0,
            })


def open(config: AgentConfig) -> Fake:
    return Fake(config.node, config.fake)
