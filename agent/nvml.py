"""The one module that speaks to NVML. Everything that leaves it is in W, J, Hz, s, bytes and ratios.

Each metric has one or more sources: fields, which one call reads together, and calls of their own where a field has no answer. A
source that this library, driver or card does not have is remembered and not asked again. pynvml has setters and getters that drop
the return code or share their default arguments between threads; none of those is used. Not thread-safe but for the event watch.
"""

import ctypes
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

import pynvml  # type: ignore[import-untyped]  # nvidia-ml-py ships no types

from gpuwarden.agent import nvml_names
from gpuwarden.agent.reading import Unsupported

_MILLI, _NANO, _MEGA, _PERCENT, _KILO = 1e-3, 1e-9, 1e6, 0.01, 1e3
_LINKS: Final = 18  # NVLinks of an H100 or B200; a link that is not there says so once
_ALL_ONES: Final = (0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF)  # NVML's "not available"
_MEMBERS: Final = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")  # of the union, by nvmlValueType_t
_FIELD_CALL: Final = "nvmlDeviceGetFieldValues"
_WAIT_MS: Final = 1000
_LOST: Final = (pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_RESET_REQUIRED, pynvml.NVML_ERROR_GPU_NOT_FOUND)
_OVER: Final = (
    pynvml.NVML_ERROR_UNINITIALIZED,
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED,
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH,
)
_ABSENT: Final = (
    pynvml.NVML_ERROR_NOT_SUPPORTED,
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND,
    pynvml.NVML_ERROR_NO_PERMISSION,
    pynvml.NVML_ERROR_INVALID_ARGUMENT,
    pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH,
)


class GpuLost(Exception):
    """The driver no longer reaches this card; the others may be well."""


class SessionOver(Exception):
    """The driver went away under this library: only a new process can go on."""


@dataclass(frozen=True, slots=True)
class _Field:
    """One NVML field. Several fields of one metric add up. `rate`: a counter, given as its increase a second."""

    metric: str
    number: int
    scale: float = 1.0
    scope: int = 0
    rate: bool = False

    @property
    def source(self) -> str:
        return f"field {self.number}" + (f" of link {self.scope}" if self.scope else "")


@dataclass(frozen=True, slots=True)
class _Getter:
    """One NVML call: what it returns, taken apart by `read`, is one number for each of `metrics`."""

    metrics: tuple[str, ...]
    call: str
    arguments: tuple[int, ...] = ()
    read: Callable[[Any], tuple[float, ...]] = lambda value: (value,)

    @property
    def source(self) -> str:
        return self.call + (f"{self.arguments}" if self.arguments else "")


def _scaled(scale: float) -> Callable[[Any], tuple[float, ...]]:
    return lambda value: (value * scale,) if value not in _ALL_ONES else (math.nan,)


_FIELDS: Final = (
    _Field("gpu_power_watts", 186, _MILLI),
    _Field("gpu_power_average_watts", 185, _MILLI),
    _Field("gpu_power_limit_min_watts", 187, _MILLI),
    _Field("gpu_power_limit_max_watts", 188, _MILLI),
    _Field("gpu_power_limit_default_watts", 189, _MILLI),
    _Field("gpu_power_limit_enforced_watts", 190, _MILLI),
    _Field("gpu_power_limit_requested_watts", 192, _MILLI),
    _Field("gpu_energy_joules_total", 83, _MILLI),
    _Field("gpu_memory_temperature_celsius", 82),
    _Field("gpu_throttle_power_seconds_total", 74, _NANO),
    _Field("gpu_throttle_thermal_seconds_total", 75, _NANO),
    _Field("gpu_throttle_software_thermal_seconds_total", 269, _NANO),
    _Field("gpu_throttle_hardware_thermal_seconds_total", 270, _NANO),
    _Field("gpu_throttle_power_brake_seconds_total", 271, _NANO),
    _Field("gpu_ecc_corrected_volatile_total", 3),
    _Field("gpu_ecc_uncorrected_volatile_total", 4),
    _Field("gpu_ecc_corrected_aggregate_total", 5),
    _Field("gpu_ecc_uncorrected_aggregate_total", 6),
    _Field("gpu_remapped_rows_corrected", 142),
    _Field("gpu_remapped_rows_uncorrected", 143),
    _Field("gpu_row_remap_pending", 144),
    _Field("gpu_row_remap_failure", 145),
    _Field("gpu_nvlink_errors_total", 38),
    _Field("gpu_nvlink_errors_total", 45),
    _Field("gpu_nvlink_errors_total", 52),
    _Field("gpu_nvlink_errors_total", 59),
    *(_Field("gpu_nvlink_active_links", 165, scope=link) for link in range(_LINKS)),
    _Field("gpu_pcie_replays_total", 94),
    _Field("gpu_pcie_transmit_bytes_per_second", 197, rate=True),
    _Field("gpu_pcie_receive_bytes_per_second", 198, rate=True),
    _Field("gpu_recovery_action", 230),
)

_GETTERS: Final = (
    _Getter(("gpu_power_watts",), "nvmlDeviceGetPowerUsage", read=_scaled(_MILLI)),
    _Getter(
        ("gpu_power_limit_min_watts", "gpu_power_limit_max_watts"),
        "nvmlDeviceGetPowerManagementLimitConstraints",
        read=lambda pair: (pair[0] * _MILLI, pair[1] * _MILLI),
    ),
    _Getter(("gpu_power_limit_default_watts",), "nvmlDeviceGetPowerManagementDefaultLimit", read=_scaled(_MILLI)),
    _Getter(("gpu_power_limit_enforced_watts",), "nvmlDeviceGetEnforcedPowerLimit", read=_scaled(_MILLI)),
    _Getter(("gpu_power_limit_requested_watts",), "nvmlDeviceGetPowerManagementLimit", read=_scaled(_MILLI)),
    _Getter(("gpu_energy_joules_total",), "nvmlDeviceGetTotalEnergyConsumption", read=_scaled(_MILLI)),
    _Getter(("gpu_sm_clock_hertz",), "nvmlDeviceGetClockInfo", (pynvml.NVML_CLOCK_SM,), _scaled(_MEGA)),
    _Getter(("gpu_memory_clock_hertz",), "nvmlDeviceGetClockInfo", (pynvml.NVML_CLOCK_MEM,), _scaled(_MEGA)),
    _Getter(("gpu_sm_clock_max_hertz",), "nvmlDeviceGetMaxClockInfo", (pynvml.NVML_CLOCK_SM,), _scaled(_MEGA)),
    _Getter(
        ("gpu_utilization_ratio", "gpu_memory_utilization_ratio"),
        "nvmlDeviceGetUtilizationRates",
        read=lambda rates: (rates.gpu * _PERCENT, rates.memory * _PERCENT),
    ),
    _Getter(
        ("gpu_memory_used_bytes", "gpu_memory_total_bytes"),
        "nvmlDeviceGetMemoryInfo",
        read=lambda memory: (memory.used, memory.total),
    ),
    _Getter(("gpu_temperature_celsius",), "nvmlDeviceGetTemperatureV", (pynvml.NVML_TEMPERATURE_GPU,)),
    _Getter(("gpu_temperature_celsius",), "nvmlDeviceGetTemperature", (pynvml.NVML_TEMPERATURE_GPU,)),
    _Getter(("gpu_temperature_margin_celsius",), "nvmlDeviceGetMarginTemperature"),
    _Getter(("gpu_throttle_reasons",), "nvmlDeviceGetCurrentClocksEventReasons", read=_scaled(1)),
    _Getter(("gpu_throttle_reasons",), "nvmlDeviceGetCurrentClocksThrottleReasons", read=_scaled(1)),
    *(
        _Getter((f"gpu_ecc_{name}_total",), "nvmlDeviceGetTotalEccErrors", pair, _scaled(1))
        for name, pair in (
            ("corrected_volatile", (0, 0)),
            ("uncorrected_volatile", (1, 0)),
            ("corrected_aggregate", (0, 1)),
            ("uncorrected_aggregate", (1, 1)),
        )
    ),
    _Getter(
        ("gpu_remapped_rows_corrected", "gpu_remapped_rows_uncorrected", "gpu_row_remap_pending", "gpu_row_remap_failure"),
        "nvmlDeviceGetRemappedRows",
        read=lambda rows: tuple(rows),
    ),
    *(_Getter(("gpu_nvlink_active_links",), "nvmlDeviceGetNvLinkState", (link,)) for link in range(_LINKS)),
    _Getter(("gpu_pcie_replays_total",), "nvmlDeviceGetPcieReplayCounter", read=_scaled(1)),
    _Getter(("gpu_pcie_generation",), "nvmlDeviceGetCurrPcieLinkGeneration"),
    _Getter(("gpu_pcie_width_lanes",), "nvmlDeviceGetCurrPcieLinkWidth"),
    _Getter(("gpu_pcie_generation_max",), "nvmlDeviceGetMaxPcieLinkGeneration"),
    _Getter(("gpu_pcie_width_max_lanes",), "nvmlDeviceGetMaxPcieLinkWidth"),
    _Getter(("gpu_pcie_transmit_bytes_per_second",), "nvmlDeviceGetPcieThroughput", (pynvml.NVML_PCIE_UTIL_TX_BYTES,), _scaled(_KILO)),
    _Getter(("gpu_pcie_receive_bytes_per_second",), "nvmlDeviceGetPcieThroughput", (pynvml.NVML_PCIE_UTIL_RX_BYTES,), _scaled(_KILO)),
    _Getter(("gpu_persistence_mode",), "nvmlDeviceGetPersistenceMode"),
    _Getter(("gpu_performance_state",), "nvmlDeviceGetPerformanceState"),
)


def _sources() -> Mapping[str, tuple[str, ...]]:
    sources: dict[str, tuple[str, ...]] = {}
    for row in _FIELDS:
        sources[row.metric] = (*sources.get(row.metric, ()), row.source)
    for getter in _GETTERS:
        for metric in getter.metrics:
            sources[metric] = (*sources.get(metric, ()), getter.source)
    return sources


_SOURCES: Final = _sources()
METRICS: Final = frozenset(_SOURCES)
"""What NVML can tell of a card, where the driver, the library and the card have it."""
SLOW: Final = frozenset({"gpu_pcie_transmit_bytes_per_second", "gpu_pcie_receive_bytes_per_second"})
"""Without their fields the driver counts these for 20 ms a call: ask rarely."""


@cache
def _plan(metrics: frozenset[str]) -> tuple[tuple[_Field, ...], tuple[_Getter, ...]]:
    fields = tuple(row for row in _FIELDS if row.metric in metrics)
    return fields, tuple(row for row in _GETTERS if not metrics.isdisjoint(row.metrics))


@dataclass(slots=True)
class NvmlGpu:
    """One card. `id` is its UUID, or `GPU-index-N` where the library cannot tell."""

    index: int
    id: str
    handle: Any = None
    absent: dict[str, str] = field(default_factory=dict)  # source -> why this card does not have it
    counted: dict[int, tuple[float, float]] = field(default_factory=dict)  # field -> when, how many


class Nvml:
    """One session with the driver, for a process's life. Raises Unsupported where there is no driver, library or card."""

    def __init__(self) -> None:
        self.gpus = tuple(NvmlGpu(index, f"GPU-index-{index}") for index in range(_start()))
        for gpu in self.gpus:
            with suppress(GpuLost):
                self._identify(gpu)

    def read(self, gpu: NvmlGpu, metrics: frozenset[str] = METRICS) -> dict[str, float]:
        """Those of `metrics` that the card tells now, in catalogue units. Raises GpuLost, SessionOver."""
        fields, getters = _plan(metrics)
        values = self._read_fields(gpu, fields)
        supplier = dict.fromkeys(values, "fields")
        for getter in getters:
            if any(supplier.get(metric, getter.call) == getter.call for metric in getter.metrics):
                for metric, value in self._ask(gpu, getter):
                    if supplier.setdefault(metric, getter.call) == getter.call:
                        values[metric] = values.get(metric, 0.0) + value
        return {metric: value for metric, value in values.items() if metric in metrics and not math.isnan(value)}

    def set_limit(self, gpu: NvmlGpu, limit_w: float) -> str:
        """Asks for a power limit; '' or why the driver refused. Silence is not yet success: read the limit back."""
        try:
            pynvml.nvmlDeviceSetPowerManagementLimit(gpu.handle, round(limit_w / _MILLI))
        except pynvml.NVMLError as error:
            return _reason(error)
        return ""

    def running(self, gpu: NvmlGpu) -> tuple[tuple[int, int], ...]:
        """Process id and device memory (bytes, 0 where unknown) of what computes on the card. Raises GpuLost."""
        found = self.call(gpu, "nvmlDeviceGetComputeRunningProcesses_v3") or ()
        return tuple((entry.pid, entry.usedGpuMemory or 0) for entry in found)

    def call(self, gpu: NvmlGpu, name: str, *arguments: object, source: str = "") -> Any:
        """What the call returns, None where there is no answer. Raises GpuLost, SessionOver."""
        source, function = source or name, getattr(pynvml, name, None)
        if gpu.handle is None:
            self._identify(gpu)
        if source in gpu.absent:
            return None
        if function is None:
            gpu.absent[source] = "not in this pynvml"
            return None
        try:
            return function(gpu.handle, *arguments)
        except pynvml.NVMLError as error:
            self._judge(gpu, source, error)
            return None

    def lacks(self) -> tuple[str, ...]:
        """Every metric that no source of some card can tell, and why."""
        return tuple(line for metric in _SOURCES if (line := self._lack(metric)))

    def _lack(self, metric: str) -> str:
        without = [gpu for gpu in self.gpus if all(source in gpu.absent for source in _SOURCES[metric])]
        if not without:
            return ""
        reasons = sorted({f"{source} {without[0].absent[source]}" for source in _SOURCES[metric]})
        where = "" if len(without) == len(self.gpus) else f" (GPUs {', '.join(str(gpu.index) for gpu in without)})"
        return f"{metric}{where}: {'; '.join(reasons[:3])}{' ...' if len(reasons) > 3 else ''}"

    def _identify(self, gpu: NvmlGpu) -> None:
        """Finds handle and UUID; a card that was lost at the start is looked for again at every reading."""
        try:
            gpu.handle = nvml_names.handle(gpu.index)
        except pynvml.NVMLError as error:
            raise GpuLost(f"GPU {gpu.index}: {_reason(error)}") from None
        gpu.id = self.call(gpu, "nvmlDeviceGetUUID") or gpu.id

    def _judge(self, gpu: NvmlGpu, source: str, error: pynvml.NVMLError) -> None:
        if error.value in _LOST:
            raise GpuLost(f"GPU {gpu.index}: {_reason(error)}")
        if error.value in _OVER:
            raise SessionOver(_reason(error))
        if error.value in _ABSENT:
            gpu.absent[source] = _reason(error)

    def _ask(self, gpu: NvmlGpu, getter: _Getter) -> Iterable[tuple[str, float]]:
        answer = self.call(gpu, getter.call, *getter.arguments, source=getter.source)
        return () if answer is None else zip(getter.metrics, getter.read(answer), strict=True)

    def _read_fields(self, gpu: NvmlGpu, rows: tuple[_Field, ...]) -> dict[str, float]:
        asked = [row for row in rows if row.source not in gpu.absent]
        answers = self.call(gpu, _FIELD_CALL, [(row.number, row.scope) for row in asked]) if asked else ()
        if answers is None and _FIELD_CALL in gpu.absent:
            gpu.absent.update({row.source: gpu.absent[_FIELD_CALL] for row in asked})
        values: dict[str, float] = {}
        for row, answer in zip(asked, answers or (), strict=False):
            value = self._field_value(gpu, row, answer)
            if value is not None:
                values[row.metric] = values.get(row.metric, 0.0) + value
        return values

    def _field_value(self, gpu: NvmlGpu, row: _Field, answer: Any) -> float | None:
        if answer.nvmlReturn != pynvml.NVML_SUCCESS:
            self._judge(gpu, row.source, pynvml.NVMLError(answer.nvmlReturn))
            return None
        if answer.timestamp == answer.valueType == answer.value.ullVal == 0:
            gpu.absent[row.source] = "left unanswered"  # a driver stamps what it answers
            return None
        number = getattr(answer.value, _MEMBERS[answer.valueType])
        if number in _ALL_ONES:
            return None
        return _rate(gpu, row, number) if row.rate else float(number * row.scale)


def _rate(gpu: NvmlGpu, row: _Field, count: float) -> float:
    """Increase a second since the last reading; NaN at the first and after a reset."""
    now_s = time.monotonic()
    then_s, before = gpu.counted.get(row.number, (now_s, count))
    gpu.counted[row.number] = now_s, count
    return (count - before) / (now_s - then_s) if now_s > then_s and count >= before else math.nan


def _reason(error: pynvml.NVMLError) -> str:
    """The error's name; its text would need another call of the library."""
    return type(error).__name__.removeprefix("NVMLError_") if type(error) is not pynvml.NVMLError else f"error {error.value}"


def _start() -> int:
    try:
        nvml_names.init()
        count = nvml_names.count()
    except pynvml.NVMLError as error:
        raise Unsupported(f"NVML: {_reason(error)}") from None
    if not count:
        raise Unsupported("NVML: this node has no GPU")
    return count


class XidWatch:
    """XIDs as they come. A thread waits for them, because the driver keeps only the newest one of a card."""

    def __init__(self, gpus: tuple[NvmlGpu, ...]) -> None:
        self.lack = ""
        self._seen: deque[tuple[int, int]] = deque(maxlen=1000)
        self._indexes = {_address(gpu.handle): gpu.index for gpu in gpus if gpu.handle is not None}
        try:
            self._set = pynvml.nvmlEventSetCreate()
            for gpu in gpus:
                if gpu.handle is not None:
                    pynvml.nvmlDeviceRegisterEvents(gpu.handle, pynvml.nvmlEventTypeXidCriticalError, self._set)
        except pynvml.NVMLError as error:
            self.lack = f"gpu_xid_errors_total: events {_reason(error)}"
        else:
            threading.Thread(target=self._wait, daemon=True).start()

    def take(self) -> tuple[tuple[int, int], ...]:
        """(GPU index, XID) of each event since the last call, oldest first."""
        return tuple(self._seen.popleft() for _ in range(len(self._seen)))

    def _wait(self) -> None:
        while True:
            try:
                event = pynvml.nvmlEventSetWait_v2(self._set, _WAIT_MS)
            except pynvml.NVMLError_Timeout:
                continue
            except pynvml.NVMLError as error:
                self.lack = f"gpu_xid_errors_total: events {_reason(error)}"
                time.sleep(_WAIT_MS * _MILLI)
                continue
            self.lack = ""
            self._seen.append((self._indexes.get(_address(event.device), -1), event.eventData))


def _address(handle: Any) -> int | None:
    return ctypes.cast(handle, ctypes.c_void_p).value
