"""Whether the driver was loaded anew, from what it counts since its load."""

from collections.abc import Mapping


class DriverLoads:
    """The energy counter of each card. The driver starts it at zero and never turns it back (NVML reference, total energy)."""

    def __init__(self) -> None:
        self._energy_j: dict[str, float] = {}

    def anew(self, energy_j: Mapping[str, float]) -> bool:
        """True if a card, named by its id, has counted back since the call before. J."""
        went_back = any(now_j < self._energy_j.get(card, 0.0) for card, now_j in energy_j.items())
        self._energy_j |= energy_j
        return went_back
