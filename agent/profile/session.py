"""A profile's session with the driver, as its child process holds it: one card, its clock and its limit."""

import math
from typing import Final

from gpuwarden.agent.nvml import Nvml, NvmlGpu
from gpuwarden.agent.profile.card import Profiled, Seen
from gpuwarden.agent.reading import GpuLost, Unsupported

_POWER: Final = "gpu_power_watts"
_ENERGY: Final = "gpu_energy_joules_total"
_CLOCK: Final = "gpu_sm_clock_hertz"
_CLOCK_MAX: Final = "gpu_sm_clock_max_hertz"
_LIMIT: Final = "gpu_power_limit_requested_watts"
_RANGE: Final = tuple(f"gpu_power_limit_{which}_watts" for which in ("default", "min", "max"))
_SEEN: Final = frozenset({_POWER, _ENERGY, _CLOCK})


class Session:
    """Each method may raise SessionOver, GpuLost or Unsupported."""

    def __init__(self, index: int) -> None:
        """The card of that index, as `nvidia-smi` counts."""
        self._nvml = Nvml()
        if not 0 <= index < len(self._nvml.gpus):
            raise Unsupported(f"card {index}: this node has cards 0 to {len(self._nvml.gpus) - 1}")
        self._gpu: NvmlGpu = self._nvml.gpus[index]

    def card(self) -> Profiled:
        """Unsupported where it cannot be set, or where its power cannot be read."""
        known = self._nvml.read(self._gpu, frozenset((*_RANGE, _CLOCK_MAX, _LIMIT, _POWER)))
        if missing := [metric for metric in (*_RANGE, _CLOCK_MAX, _LIMIT, _POWER) if metric not in known]:
            raise Unsupported(f"card {self._gpu.index}: {', '.join(missing)} cannot be read")
        return Profiled(self._gpu.index, self._gpu.id, known[_CLOCK_MAX], known[_LIMIT], *(known[metric] for metric in _RANGE))

    def lock(self, clock_hz: float) -> str:
        """0 unlocks. '' or why the driver refused."""
        return self._nvml.lock_clock(self._gpu, clock_hz)

    def limit(self, limit_w: float) -> str:
        """'' or why the driver refused, or has not taken it."""
        if refused := self._nvml.set_limit(self._gpu, limit_w):
            return refused
        is_w = self._nvml.read(self._gpu, frozenset({_LIMIT})).get(_LIMIT, math.nan)
        return "" if abs(is_w - limit_w) <= 1.0 else f"is {is_w:g} W after it was set to {limit_w:g} W"

    def seen(self) -> Seen:
        """Now; NaN where the card does not tell."""
        try:
            known = self._nvml.read(self._gpu, _SEEN)
        except GpuLost:
            known = {}
        return Seen(*(known.get(metric, math.nan) for metric in (_POWER, _CLOCK, _ENERGY)))
