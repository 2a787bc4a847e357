"""One session with NVML. What leaves it is in W, J, Hz, s, bytes and ratios.

A source that this library, driver or card does not have is remembered and not asked again. pynvml has setters and getters that drop
the return code or share their default arguments between threads; none of those is used. For one thread.
"""

import math
import struct
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import pynvml  # type: ignore[import-untyped]  # nvidia-ml-py ships no types

from gpuwarden.agent import nvml_names
from gpuwarden.agent.nvml_errors import ABSENT, LOST, OVER, reason
from gpuwarden.agent.nvml_sources import ALL_ONES, METRICS, PROCESS_CALLS, SOURCES, Field, Getter, plan
from gpuwarden.agent.reading import GpuLost, SessionOver, Unsupported

_ANSWER: Final = struct.Struct("@IIqqII8s")  # nvmlFieldValue_t: field, scope, timestamp, latency, value type, return code, value
_VALUES: Final = tuple(struct.Struct(f"@{code}") for code in "dILQqiH")  # the value, by nvmlValueType_t
_FIELD_CALL: Final = "nvmlDeviceGetFieldValues"
_MW_PER_W: Final = 1000
_HZ_PER_MHZ: Final = 1_000_000
_LOWEST_MHZ: Final = 0  # of a lock: the card may idle as it does
_SHOWN_REASONS: Final = 3


@dataclass(slots=True)
class NvmlGpu:
    """One card. `id` is its UUID, or `GPU-index-N` where the library cannot tell."""

    index: int
    id: str
    handle: Any = None
    absent: dict[str, str] = field(default_factory=dict)  # source -> why this card does not have it
    counted: dict[int, tuple[float, float]] = field(default_factory=dict)  # field -> when, how many
    requests: dict[frozenset[str], tuple[int, tuple[Field, ...], Any]] = field(default_factory=dict)  # what to ask for some metrics


class Nvml:
    """For a process's life. Raises Unsupported where there is no driver, library or card."""

    def __init__(self) -> None:
        self.gpus = tuple(NvmlGpu(index, f"GPU-index-{index}") for index in range(_start()))
        self._identify_all()

    def find(self, card: str) -> NvmlGpu | None:
        """The card of that id, wherever it stands in the driver's list by now."""
        for gpu in self.gpus:
            if gpu.id == card:
                return gpu
        self._identify_all()
        return next((gpu for gpu in self.gpus if gpu.id == card), None)

    def read(self, gpu: NvmlGpu, metrics: frozenset[str] = METRICS) -> dict[str, float]:
        """Those of `metrics` that the card tells now, in catalogue units. Raises GpuLost, SessionOver."""
        fields, getters = plan(metrics)
        values = self._read_fields(gpu, metrics, fields)
        supplier = dict.fromkeys(values, "fields")
        for getter in getters:
            if any(supplier.get(metric, getter.call) == getter.call for metric in getter.metrics):
                for metric, value in self._ask(gpu, getter):
                    if supplier.setdefault(metric, getter.call) == getter.call:
                        values[metric] = values.get(metric, 0.0) + value
        return {metric: value for metric, value in values.items() if metric in metrics and not math.isnan(value)}

    def set_limit(self, gpu: NvmlGpu, limit_w: float) -> str:
        """Asks for a power limit; '' or why the driver refused. Silence is not yet success: read the limit back.

        Raises SessionOver.
        """
        return _told(pynvml.nvmlDeviceSetPowerManagementLimit, gpu.handle, round(limit_w * _MW_PER_W))

    def lock_clock(self, gpu: NvmlGpu, clock_hz: float) -> str:
        """Lets the card's clock be at most this; 0 unlocks it. '' or why the driver refused. Raises SessionOver."""
        if not clock_hz:
            return _told(pynvml.nvmlDeviceResetGpuLockedClocks, gpu.handle)
        return _told(pynvml.nvmlDeviceSetGpuLockedClocks, gpu.handle, _LOWEST_MHZ, round(clock_hz / _HZ_PER_MHZ))

    def running(self, gpu: NvmlGpu) -> tuple[tuple[int, int], ...] | None:
        """Process id and device memory (bytes, 0 where unknown) of what computes on the card; None where it cannot be told.

        Raises GpuLost, SessionOver.
        """
        answers = (self.call(gpu, name) for name in PROCESS_CALLS)
        found = next((answer for answer in answers if answer is not None), None)
        return None if found is None else tuple((entry.pid, entry.usedGpuMemory or 0) for entry in found)

    def call(self, gpu: NvmlGpu, name: str, *arguments: object, source: str = "") -> Any:
        """What the call returns, None where there is no answer. Raises GpuLost, SessionOver."""
        return self._asked(gpu, source or name, getattr(pynvml, name, None), *arguments)

    def _asked(self, gpu: NvmlGpu, source: str, function: Callable[..., Any] | None, *arguments: object) -> Any:
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
            _judge(gpu, source, error)
            return None

    def lacks(self) -> tuple[str, ...]:
        """Every metric that no source of some card can tell, and why."""
        return tuple(line for metric in SOURCES if (line := self._lack(metric)))

    def _lack(self, metric: str) -> str:
        without = [gpu for gpu in self.gpus if all(source in gpu.absent for source in SOURCES[metric])]
        if not without:
            return ""
        reasons = sorted({f"{source} {without[0].absent[source]}" for source in SOURCES[metric]})
        where = "" if len(without) == len(self.gpus) else f" (GPUs {', '.join(str(gpu.index) for gpu in without)})"
        return f"{metric}{where}: {'; '.join(reasons[:_SHOWN_REASONS])}{' ...' if len(reasons) > _SHOWN_REASONS else ''}"

    def _identify_all(self) -> None:
        for gpu in self.gpus:
            if gpu.handle is None:
                with suppress(GpuLost):
                    self._identify(gpu)

    def _identify(self, gpu: NvmlGpu) -> None:
        """Finds handle and UUID; a card that was lost at the start is looked for again at every reading."""
        try:
            gpu.handle = nvml_names.handle(gpu.index)
        except pynvml.NVMLError as error:
            if error.value in OVER:
                raise SessionOver(reason(error)) from None
            raise GpuLost(f"GPU {gpu.index}: {reason(error)}") from None
        gpu.id = self.call(gpu, "nvmlDeviceGetUUID") or gpu.id

    def _ask(self, gpu: NvmlGpu, getter: Getter) -> Iterable[tuple[str, float]]:
        answer = self.call(gpu, getter.call, *getter.arguments, source=getter.source)
        return () if answer is None else zip(getter.metrics, getter.read(answer), strict=True)

    def _read_fields(self, gpu: NvmlGpu, metrics: frozenset[str], rows: tuple[Field, ...]) -> dict[str, float]:
        asked, request = _request(gpu, metrics, rows)
        answers = self._asked(gpu, _FIELD_CALL, nvml_names.read_fields, request) if asked else ()
        if answers is None and _FIELD_CALL in gpu.absent:
            gpu.absent.update({row.source: gpu.absent[_FIELD_CALL] for row in asked})
        values: dict[str, float] = {}
        for row, answer in zip(asked, _ANSWER.iter_unpack(answers) if answers else (), strict=False):
            value = _field_value(gpu, row, *answer[2:])
            if value is not None:
                values[row.metric] = values.get(row.metric, 0.0) + value
        return values


def _told(setter: Callable[..., object], *arguments: object) -> str:
    try:
        setter(*arguments)
    except pynvml.NVMLError as error:
        if error.value in OVER:
            raise SessionOver(reason(error)) from None
        return reason(error)
    return ""


def _request(gpu: NvmlGpu, metrics: frozenset[str], rows: tuple[Field, ...]) -> tuple[tuple[Field, ...], Any]:
    """Those of `rows` that the card may have, and the array that asks for them: made again only where something turned out absent."""
    absent, asked, request = gpu.requests.get(metrics, (-1, (), None))
    if absent != len(gpu.absent):
        asked = tuple(row for row in rows if row.source not in gpu.absent)
        request = nvml_names.fields(tuple((row.number, row.scope) for row in asked))
        gpu.requests[metrics] = len(gpu.absent), asked, request
    return asked, request


def _judge(gpu: NvmlGpu, source: str, error: pynvml.NVMLError) -> None:
    if error.value in LOST:
        raise GpuLost(f"GPU {gpu.index}: {reason(error)}")
    if error.value in OVER:
        raise SessionOver(reason(error))
    if error.value in ABSENT:
        gpu.absent[source] = reason(error)


def _field_value(gpu: NvmlGpu, row: Field, timestamp: int, _latency: int, kind: int, code: int, value: bytes) -> float | None:
    """Taken apart by `struct`: pynvml's structures look at each attribute in Python, which is most of a pass."""
    if code != pynvml.NVML_SUCCESS:
        _judge(gpu, row.source, pynvml.NVMLError(code))
        return None
    if timestamp == kind == 0 and not any(value):
        gpu.absent[row.source] = "left unanswered"  # a driver stamps what it answers
        return None
    (number,) = _VALUES[kind].unpack_from(value)
    if number in ALL_ONES:
        return None
    return _rate(gpu, row, number) if row.rate else float(number * row.scale)


def _rate(gpu: NvmlGpu, row: Field, count: float) -> float:
    """Increase a second since the last reading; NaN at the first and after a reset."""
    now_s = time.monotonic()
    then_s, before = gpu.counted.get(row.number, (now_s, count))
    gpu.counted[row.number] = now_s, count
    return (count - before) / (now_s - then_s) if now_s > then_s and count >= before else math.nan


def _start() -> int:
    try:
        nvml_names.init()
        count = nvml_names.count()
    except pynvml.NVMLError as error:
        raise Unsupported(f"NVML: {reason(error)}") from None
    if not count:
        raise Unsupported("NVML: this node has no GPU")
    return count
