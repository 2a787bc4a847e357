"""This node's cards as the limiter needs them: power, limits, setting limits. The driver is met in a child process, under deadlines."""

import math
from collections.abc import Sequence
from typing import Any, Final

from gpuwarden.agent.child import Child, ChildFailed
from gpuwarden.agent.limiter.events import CardState
from gpuwarden.agent.limiter.machine import Card
from gpuwarden.agent.nvml import GpuLost, Nvml, NvmlGpu, SessionOver
from gpuwarden.agent.reading import Unsupported

READ_S: Final = 1.0
SET_S: Final = 5.0  # 10-20 ms a card behind a lock that all who set limits share
_POWER: Final = frozenset({"gpu_power_watts"})
_LIMITS: Final = frozenset({"gpu_power_limit_requested_watts", "gpu_power_limit_enforced_watts"})
_RANGE: Final = frozenset(f"gpu_power_limit_{which}_watts" for which in ("default", "min", "max"))


class Cards:
    """For one thread. Each call may raise Hung or ChildFailed; the next one starts a new child."""

    def __init__(self) -> None:
        """Raises Unsupported where there is no card whose limits can be set, Hung where the driver does not answer."""
        self._child = Child(_Session)
        self.driver_loads = 1
        try:
            self.cards: tuple[Card, ...] = self._call("cards", deadline_s=READ_S)
        except ChildFailed as why:
            self.close()
            raise Unsupported(why.message) if why.kind == Unsupported.__name__ else why from None

    def power_w(self) -> tuple[float, ...]:
        """W per card, NaN where one does not answer."""
        answer: tuple[float, ...] = self._call("power_w", deadline_s=READ_S)
        return answer

    def limits(self) -> tuple[CardState, ...]:
        """As the driver tells them now."""
        answer: tuple[CardState, ...] = self._call("limits", deadline_s=READ_S)
        return answer

    def set_limits(self, limits_w: Sequence[float]) -> tuple[str, ...]:
        """W per card; '' or why the driver refused, per card. Silence is not yet success: read back."""
        answer: tuple[str, ...] = self._call("set_limits", tuple(limits_w), deadline_s=SET_S)
        return answer

    def close(self) -> None:
        self._child.close()

    def _call(self, method: str, *arguments: object, deadline_s: float) -> Any:
        try:
            return self._child.call(method, *arguments, deadline_s=deadline_s)
        except ChildFailed as why:
            self.driver_loads += why.kind == SessionOver.__name__
            raise


class _Session:
    """Lives in the child."""

    def __init__(self) -> None:
        self._nvml = Nvml()

    def cards(self) -> tuple[Card, ...]:
        return tuple(map(self._card, self._nvml.gpus))

    def _card(self, gpu: NvmlGpu) -> Card:
        try:
            known = self._nvml.read(gpu, _RANGE)
        except GpuLost as why:
            raise Unsupported(f"{why}: its limits cannot be vouched for") from None
        if missing := sorted(_RANGE - known.keys()):
            raise Unsupported(f"GPU {gpu.index}: {', '.join(missing)} cannot be read")
        return Card(gpu.id, *(known[f"gpu_power_limit_{which}_watts"] for which in ("default", "min", "max")))

    def power_w(self) -> tuple[float, ...]:
        return tuple(self._read(gpu, _POWER).get("gpu_power_watts", math.nan) for gpu in self._nvml.gpus)

    def limits(self) -> tuple[CardState, ...]:
        return tuple(_state(self._read(gpu, _LIMITS)) for gpu in self._nvml.gpus)

    def set_limits(self, limits_w: tuple[float, ...]) -> tuple[str, ...]:
        return tuple(self._nvml.set_limit(gpu, limit_w) for gpu, limit_w in zip(self._nvml.gpus, limits_w, strict=True))

    def _read(self, gpu: NvmlGpu, metrics: frozenset[str]) -> dict[str, float]:
        try:
            return self._nvml.read(gpu, metrics)
        except GpuLost:
            return {}


def _state(read: dict[str, float]) -> CardState:
    """A driver that tells one of the two tells it for both."""
    requested_w = read.get("gpu_power_limit_requested_watts", math.nan)
    enforced_w = read.get("gpu_power_limit_enforced_watts", requested_w)
    return CardState(enforced_w if math.isnan(requested_w) else requested_w, enforced_w)
