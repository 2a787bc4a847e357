"""What a model learns of a node in a minute: the catalogue's metrics as numbers that may be averaged and compared.

A gauge is its mean; a counter its rate. A state is a code, and not averaged, but for the one that says that we held the card back.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from gpuwarden.proto.catalogue import COLUMNS, Device, Kind, Metric

CARDS: Final = 8
CAPPED: Final = "gpu_capped_by_us"  # as the share of the minute: what follows from our own caps is no fault
_LEFT_OUT: Final = frozenset({
    # grows by itself, and says nothing of the node
    "gpu_energy_since_load_joules", "gpu_sample_age_seconds", "host_uptime_seconds", "host_bmc_age_seconds",
    # what the card or the host is, not how it does
    "gpu_power_limit_default_watts", "gpu_power_limit_min_watts", "gpu_power_limit_max_watts", "gpu_sm_clock_max_hertz",
    "gpu_memory_total_bytes", "gpu_pcie_generation_max", "gpu_pcie_width_max_lanes", "host_memory_total_bytes",
})  # fmt: skip
_UNITS: Final = (
    "bytes_per_second", "watts", "joules", "hertz", "celsius", "bytes", "seconds", "ratio", "rpm", "lanes",
)  # fmt: skip


def _among(metric: Metric) -> bool:
    return metric.name == CAPPED or (metric.kind is not Kind.STATE and metric.name not in _LEFT_OUT)


METRICS: Final[Mapping[Device, tuple[Metric, ...]]] = MappingProxyType(
    {device: tuple(filter(_among, COLUMNS[device])) for device in (Device.GPU, Device.HOST)}
)
"""Those that are features, of each kind of device. A node's NICs come and go with its wiring, and are watched by rules."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One column of a block. `card` is the place among the node's cards, None for the host's. `unit` is a base unit, or 1."""

    name: str
    unit: str
    metric: Metric
    card: int | None


def _unit(metric: Metric) -> str:
    name = metric.name.removesuffix("_total")
    unit = next((unit for unit in _UNITS if name.endswith(f"_{unit}")), "1")
    return f"{unit} per second" if metric.kind is Kind.COUNTER else unit


FEATURES: Final[tuple[Feature, ...]] = (
    *(Feature(f"{metric.name}[{card}]", _unit(metric), metric, card) for card in range(CARDS) for metric in METRICS[Device.GPU]),
    *(Feature(metric.name, _unit(metric), metric, None) for metric in METRICS[Device.HOST]),
)


def columns(card: int | None) -> slice:
    """The columns of a block that are this card's, or the host's."""
    each = len(METRICS[Device.GPU])
    return slice(CARDS * each, len(FEATURES)) if card is None else slice(card * each, (card + 1) * each)
