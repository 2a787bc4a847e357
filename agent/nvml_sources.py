"""Where each of the catalogue's GPU metrics comes from in NVML, in the catalogue's units: the one place that converts.

Field numbers and units are those of nvml.h. Later rows stand in where earlier ones have no answer.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, Final

import pynvml  # type: ignore[import-untyped]  # nvidia-ml-py ships no types

ALL_ONES: Final = (0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF)  # NVML's "not available"
_MILLI, _NANO, _MEGA, _PERCENT = 1e-3, 1e-9, 1e6, 0.01
_LINKS: Final = 18  # NVLinks of an H100 or B200; a link that is not there says so once


@dataclass(frozen=True)
class Field:
    """One NVML field. Several fields of one metric add up. `rate`: a counter, given as its increase a second."""

    metric: str
    number: int
    scale: float = 1.0
    scope: int = 0
    rate: bool = False

    @cached_property
    def source(self) -> str:
        return f"field {self.number}" + (f" of link {self.scope}" if self.scope else "")


@dataclass(frozen=True)
class Getter:
    """One NVML call: what it returns, taken apart by `read`, is one number for each of `metrics`."""

    metrics: tuple[str, ...]
    call: str
    arguments: tuple[int, ...] = ()
    read: Callable[[Any], tuple[float, ...]] = lambda value: (value,)

    @cached_property
    def source(self) -> str:
        return self.call + (f"{self.arguments}" if self.arguments else "")


def _scaled(scale: float) -> Callable[[Any], tuple[float, ...]]:
    return lambda value: (value * scale,) if value not in ALL_ONES else (math.nan,)


FIELDS: Final = (
    Field("gpu_power_watts", 186, _MILLI),
    Field("gpu_power_average_watts", 185, _MILLI),
    Field("gpu_power_limit_min_watts", 187, _MILLI),
    Field("gpu_power_limit_max_watts", 188, _MILLI),
    Field("gpu_power_limit_default_watts", 189, _MILLI),
    Field("gpu_power_limit_enforced_watts", 190, _MILLI),
    Field("gpu_power_limit_requested_watts", 192, _MILLI),
    Field("gpu_energy_joules_total", 83, _MILLI),
    Field("gpu_memory_temperature_celsius", 82),
    Field("gpu_throttle_power_seconds_total", 74, _NANO),
    Field("gpu_throttle_thermal_seconds_total", 75, _NANO),
    Field("gpu_throttle_software_thermal_seconds_total", 269, _NANO),
    Field("gpu_throttle_hardware_thermal_seconds_total", 270, _NANO),
    Field("gpu_throttle_power_brake_seconds_total", 271, _NANO),
    Field("gpu_ecc_corrected_volatile_total", 3),
    Field("gpu_ecc_uncorrected_volatile_total", 4),
    Field("gpu_ecc_corrected_aggregate_total", 5),
    Field("gpu_ecc_uncorrected_aggregate_total", 6),
    Field("gpu_remapped_rows_corrected", 142),
    Field("gpu_remapped_rows_uncorrected", 143),
    Field("gpu_row_remap_pending", 144),
    Field("gpu_row_remap_failure", 145),
    Field("gpu_nvlink_errors_total", 38),
    Field("gpu_nvlink_errors_total", 45),
    Field("gpu_nvlink_errors_total", 52),
    Field("gpu_nvlink_errors_total", 59),
    *(Field("gpu_nvlink_active_links", 165, scope=link) for link in range(_LINKS)),
    Field("gpu_pcie_replays_total", 94),
    # There is a call for these two as well; it counts for 20 ms a card and direction, under the driver's lock.
    Field("gpu_pcie_transmit_bytes_per_second", 197, rate=True),
    Field("gpu_pcie_receive_bytes_per_second", 198, rate=True),
    Field("gpu_recovery_action", 230),
)

GETTERS: Final = (
    Getter(("gpu_power_watts",), "nvmlDeviceGetPowerUsage", read=_scaled(_MILLI)),
    Getter(
        ("gpu_power_limit_min_watts", "gpu_power_limit_max_watts"),
        "nvmlDeviceGetPowerManagementLimitConstraints",
        read=lambda pair: (pair[0] * _MILLI, pair[1] * _MILLI),
    ),
    Getter(("gpu_power_limit_default_watts",), "nvmlDeviceGetPowerManagementDefaultLimit", read=_scaled(_MILLI)),
    Getter(("gpu_power_limit_enforced_watts",), "nvmlDeviceGetEnforcedPowerLimit", read=_scaled(_MILLI)),
    Getter(("gpu_power_limit_requested_watts",), "nvmlDeviceGetPowerManagementLimit", read=_scaled(_MILLI)),
    Getter(("gpu_energy_joules_total",), "nvmlDeviceGetTotalEnergyConsumption", read=_scaled(_MILLI)),
    Getter(("gpu_sm_clock_hertz",), "nvmlDeviceGetClockInfo", (pynvml.NVML_CLOCK_SM,), _scaled(_MEGA)),
    Getter(("gpu_memory_clock_hertz",), "nvmlDeviceGetClockInfo", (pynvml.NVML_CLOCK_MEM,), _scaled(_MEGA)),
    Getter(("gpu_sm_clock_max_hertz",), "nvmlDeviceGetMaxClockInfo", (pynvml.NVML_CLOCK_SM,), _scaled(_MEGA)),
    Getter(
        ("gpu_utilization_ratio", "gpu_memory_utilization_ratio"),
        "nvmlDeviceGetUtilizationRates",
        read=lambda rates: (rates.gpu * _PERCENT, rates.memory * _PERCENT),
    ),
    Getter(
        ("gpu_memory_used_bytes", "gpu_memory_total_bytes"),
        "nvmlDeviceGetMemoryInfo",
        read=lambda memory: (memory.used, memory.total),
    ),
    Getter(("gpu_temperature_celsius",), "nvmlDeviceGetTemperatureV", (pynvml.NVML_TEMPERATURE_GPU,)),
    Getter(("gpu_temperature_celsius",), "nvmlDeviceGetTemperature", (pynvml.NVML_TEMPERATURE_GPU,)),
    Getter(("gpu_temperature_margin_celsius",), "nvmlDeviceGetMarginTemperature"),
    Getter(("gpu_throttle_reasons",), "nvmlDeviceGetCurrentClocksEventReasons", read=_scaled(1)),
    Getter(("gpu_throttle_reasons",), "nvmlDeviceGetCurrentClocksThrottleReasons", read=_scaled(1)),
    *(
        Getter((f"gpu_ecc_{name}_total",), "nvmlDeviceGetTotalEccErrors", pair, _scaled(1))
        for name, pair in (
            ("corrected_volatile", (0, 0)),
            ("uncorrected_volatile", (1, 0)),
            ("corrected_aggregate", (0, 1)),
            ("uncorrected_aggregate", (1, 1)),
        )
    ),
    Getter(
        ("gpu_remapped_rows_corrected", "gpu_remapped_rows_uncorrected", "gpu_row_remap_pending", "gpu_row_remap_failure"),
        "nvmlDeviceGetRemappedRows",
        read=lambda rows: tuple(rows),
    ),
    *(Getter(("gpu_nvlink_active_links",), "nvmlDeviceGetNvLinkState", (link,)) for link in range(_LINKS)),
    Getter(("gpu_pcie_replays_total",), "nvmlDeviceGetPcieReplayCounter", read=_scaled(1)),
    Getter(("gpu_pcie_generation",), "nvmlDeviceGetCurrPcieLinkGeneration"),
    Getter(("gpu_pcie_width_lanes",), "nvmlDeviceGetCurrPcieLinkWidth"),
    Getter(("gpu_pcie_generation_max",), "nvmlDeviceGetMaxPcieLinkGeneration"),
    Getter(("gpu_pcie_width_max_lanes",), "nvmlDeviceGetMaxPcieLinkWidth"),
    Getter(("gpu_persistence_mode",), "nvmlDeviceGetPersistenceMode"),
    Getter(("gpu_performance_state",), "nvmlDeviceGetPerformanceState"),
)


PROCESSES: Final = "gpu_processes"
PROCESS_CALLS: Final = ("nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetComputeRunningProcesses_v2")
METRICS: Final = frozenset(row.metric for row in FIELDS) | {metric for row in GETTERS for metric in row.metrics}
"""What NVML can tell of a card as a number, where the driver, the library and the card have it."""


def _sources() -> Mapping[str, tuple[str, ...]]:
    sources: dict[str, tuple[str, ...]] = {PROCESSES: PROCESS_CALLS}
    for row in FIELDS:
        sources[row.metric] = (*sources.get(row.metric, ()), row.source)
    for getter in GETTERS:
        for metric in getter.metrics:
            sources[metric] = (*sources.get(metric, ()), getter.source)
    return sources


SOURCES: Final = _sources()
"""For each metric everything that may tell it, by the names under which a card's absent sources are kept."""


@cache
def plan(metrics: frozenset[str]) -> tuple[tuple[Field, ...], tuple[Getter, ...]]:
    fields = tuple(row for row in FIELDS if row.metric in metrics)
    return fields, tuple(row for row in GETTERS if not metrics.isdisjoint(row.metrics))
