"""What a profile knows of a card."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Profiled:
    """As it was found. `limit_w` is the limit that is given back in the end."""

    index: int
    uuid: str
    clock_max_hz: float
    limit_w: float
    default_w: float
    min_w: float
    max_w: float


@dataclass(frozen=True, slots=True)
class Seen:
    """One reading."""

    power_w: float
    clock_hz: float
    energy_j: float
