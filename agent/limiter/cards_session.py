"""The limiter's session with the driver, as its child process holds it. Cards are named by id: indexes move when one is lost."""

import math
from typing import Final

from gpuwarden.agent.limiter.card import Card, CardState
from gpuwarden.agent.limiter.memory import lock_memory
from gpuwarden.agent.nvml import Nvml, NvmlGpu
from gpuwarden.agent.reading import GpuLost, Unsupported

_POWER: Final = "gpu_power_watts"
_ENERGY: Final = "gpu_energy_joules_total"
_REQUESTED: Final = "gpu_power_limit_requested_watts"
_ENFORCED: Final = "gpu_power_limit_enforced_watts"
_LIMITS: Final = frozenset({_REQUESTED, _ENFORCED, _ENERGY})
_WATCHED: Final = frozenset({_POWER, _ENFORCED})
_RANGE: Final = tuple(f"gpu_power_limit_{which}_watts" for which in ("default", "min", "max"))

_CLOCK_MAX: Final = "gpu_sm_clock_max_hertz"
_UNLISTED: Final = "the driver does not list this card"

Ids = tuple[str, ...]


def locked() -> "Session":
    """For the limiter's child process: it is what sets the floor, so it must not wait for swap either. The parent says a refusal."""
    lock_memory()
    return Session()


class Session:
    """Each method may raise SessionOver."""

    def __init__(self) -> None:
        self._nvml = Nvml()

    def cards(self) -> tuple[Card, ...]:
        """Unsupported where the limits of one cannot be vouched for."""
        return tuple(map(self._card, self._nvml.gpus))

    def ids(self) -> Ids:
        return tuple(gpu.id for gpu in self._nvml.gpus)

    def card(self, card: str) -> Card:
        """One of `ids`; Unsupported where its limits cannot be vouched for."""
        (gpu,) = (gpu for gpu in self._nvml.gpus if gpu.id == card)
        return self._card(gpu)

    def watched(self, ids: Ids) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Power and the limit in force, W per card, NaN where one does not answer."""
        read = [self._read(card, _WATCHED) for card in ids]
        return tuple(values.get(_POWER, math.nan) for values in read), tuple(values.get(_ENFORCED, math.nan) for values in read)

    def limits(self, ids: Ids) -> tuple[tuple[CardState, ...], dict[str, float]]:
        """And the energy counters, J by id, of cards that have one."""
        read = {card: self._read(card, _LIMITS) for card in ids}
        energy_j = {card: values[_ENERGY] for card, values in read.items() if _ENERGY in values}
        return tuple(map(_state, read.values())), energy_j

    def set_limits(self, ids: Ids, limits_w: tuple[float, ...]) -> tuple[str, ...]:
        """'' or why not, per card."""
        return tuple(self._set(card, limit_w) for card, limit_w in zip(ids, limits_w, strict=True))

    def lock_clocks(self, ids: Ids, clocks_hz: tuple[float, ...]) -> tuple[str, ...]:
        """'' or why not, per card."""
        return tuple(self._lock(card, clock_hz) for card, clock_hz in zip(ids, clocks_hz, strict=True))

    def _card(self, gpu: NvmlGpu) -> Card:
        try:
            known = self._nvml.read(gpu, frozenset((*_RANGE, _CLOCK_MAX)))
        except GpuLost as why:
            raise Unsupported(f"{why}: its limits cannot be vouched for") from None
        if missing := [metric for metric in _RANGE if metric not in known]:
            raise Unsupported(f"GPU {gpu.index}: {', '.join(missing)} cannot be read")
        default_w, min_w, max_w = (known[metric] for metric in _RANGE)
        return Card(gpu.id, default_w, min_w, max_w, known.get(_CLOCK_MAX, 0.0))

    def _read(self, card: str, metrics: frozenset[str]) -> dict[str, float]:
        gpu = self._nvml.find(card)
        try:
            return {} if gpu is None else self._nvml.read(gpu, metrics)
        except GpuLost:
            return {}

    def _set(self, card: str, limit_w: float) -> str:
        gpu = self._nvml.find(card)
        return _UNLISTED if gpu is None else self._nvml.set_limit(gpu, limit_w)

    def _lock(self, card: str, clock_hz: float) -> str:
        gpu = self._nvml.find(card)
        return _UNLISTED if gpu is None else self._nvml.lock_clock(gpu, clock_hz)


def _state(read: dict[str, float]) -> CardState:
    """A driver that tells one of the two tells it for both."""
    requested_w = read.get(_REQUESTED, math.nan)
    enforced_w = read.get(_ENFORCED, requested_w)
    return CardState(enforced_w if math.isnan(requested_w) else requested_w, enforced_w)
