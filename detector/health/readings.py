"""What of a minute can be compared between nodes, or cards, that do the same: each on a scale on which healthy differences stay the same.

A metric that goes with the load counts by its logarithm, so that a tenth more is as much at any load; heat counts as kelvins above the inlet air for each
watt. What a power limit holds back tells of the limit and not of the card, so it is left out there, and so is what an idle card says of itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from gpuwarden.detector.health.scale import Array

CARDS: Final = 8
IDLE_RATIO: Final = 0.05  # of utilisation
HELD_BACK_RATIO: Final = 0.01  # of the time
INLET: Final = "host_bmc_inlet_celsius"
POWER: Final = "gpu_power_watts"
OURS: Final = "gpu_capped_by_us"
THROTTLED: Final = "gpu_throttle_power_seconds_total"
Form = Literal["share", "plain", "rare", "heat"]
Rows = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Reading:
    """`least`: of a share, what is added to the value before its logarithm, in the metric's unit. `floor`: the least deviation, on the reading's own scale.

    `idle`: says something of an idle card, too. `limited`: still says something of a card that a power limit holds back (0 no, 1 not under ours, 2 yes).
    """

    metric: str
    form: Form
    least: float = 0.0
    floor: float = 1e-3
    idle: bool = False
    limited: int = 2

    def back(self, scaled: float) -> float:
        """In the metric's unit; of heat, K/W."""
        match self.form:
            case "share":
                return float(np.exp(scaled)) - self.least
            case "heat":
                return float(np.exp(scaled))
            case "rare":
                return scaled**2 / 60.0
            case "plain":
                return scaled


OF_CARDS: Final = (
    Reading(POWER, "share", 1.0, limited=0),
    Reading("gpu_sm_clock_hertz", "share", 1e6, limited=0),
    Reading("gpu_power_limit_enforced_watts", "share", 1.0, 2e-3, idle=True, limited=1),
    Reading("gpu_utilization_ratio", "plain", floor=2e-3, idle=True),
    Reading("gpu_memory_utilization_ratio", "share", 0.02, limited=0),
    Reading("gpu_memory_used_bytes", "share", 1e8),
    Reading("gpu_temperature_celsius", "heat"),
    Reading("gpu_memory_temperature_celsius", "heat"),
    Reading("gpu_throttle_software_thermal_seconds_total", "plain", floor=0.02),
    Reading("gpu_ecc_corrected_volatile_total", "rare", floor=0.15, idle=True),
    Reading("gpu_pcie_receive_bytes_per_second", "share", 1e6),
    Reading("gpu_pcie_transmit_bytes_per_second", "share", 1e6),
)
OF_HOSTS: Final = (
    Reading("host_cpu_utilization_ratio", "share", 5e-3),
    Reading("host_load5", "share", 1.0),
    Reading("host_cpu_system_ratio", "share", 2e-3),
    Reading("host_context_switches_total", "share", 1e3),
    Reading("host_cpu_clock_mean_hertz", "share", 1e6),
    Reading("host_cpu_clock_min_hertz", "share", 1e6),
    Reading("host_cpu_power_watts", "share", 1.0),
    Reading("host_memory_available_bytes", "share", 1e9),
    Reading("host_network_receive_bytes_total", "share", 1e7),
    Reading("host_network_transmit_bytes_total", "share", 1e7),
    Reading("host_disk_written_bytes_total", "share", 1e6),
    Reading("host_pressure_io_ratio", "share", 0.01),
    Reading("host_temperature_max_celsius", "plain", floor=0.05),  # above the inlet
    Reading(INLET, "plain", floor=0.05),
    Reading("host_bmc_fan_min_rpm", "share", 100.0),
    Reading("host_bmc_power_watts", "share", 10.0),
)
READ_OF_CARDS: Final = (*(reading.metric for reading in OF_CARDS), OURS, THROTTLED)
"""Metrics of a card that a `Reader` looks at."""
CARD_FLOOR: Final = np.array([reading.floor for reading in OF_CARDS])
NODE_FLOOR: Final = np.array([*np.tile(CARD_FLOOR, CARDS), *(reading.floor for reading in OF_HOSTS)])
CARD_READINGS: Final = tuple((reading, card) for card in range(CARDS) for reading in OF_CARDS)
NODE_READINGS: Final[tuple[tuple[Reading, int | None], ...]] = (*CARD_READINGS, *((reading, None) for reading in OF_HOSTS))
"""Of a node's readings, first card by card; None is the host."""


def named(reading: Reading, card: int | None) -> str:
    """As the column of a block is named."""
    return reading.metric if card is None else f"{reading.metric}[{card}]"


@dataclass(frozen=True, slots=True)
class Readings:
    """Of one minute, NaN where there is nothing to compare: `cards` (nodes, CARDS, OF_CARDS), `hosts` (nodes, OF_HOSTS), `ours` (nodes,) of any card."""

    cards: Array
    hosts: Array
    ours: NDArray[np.bool_]

    @property
    def nodes(self) -> Array:
        """(nodes, NODE_READINGS)."""
        return np.concatenate((self.cards.reshape(len(self.hosts), -1), self.hosts), 1)


class Reader:
    """Finds its metrics among `columns`, the names of a block's features. A metric that is not there is NaN."""

    def __init__(self, columns: Sequence[str]) -> None:
        at: Mapping[str, int] = {name: column for column, name in enumerate(columns)}
        self._cards = {metric: np.array([at.get(f"{metric}[{card}]", -1) for card in range(CARDS)]) for metric in READ_OF_CARDS}
        self._hosts = np.array([at.get(reading.metric, -1) for reading in OF_HOSTS])

    def read(self, values: NDArray[np.floating]) -> Readings:
        """Of values (nodes, columns) of one minute."""
        known = np.concatenate((np.asarray(values, np.float64), np.full((len(values), 1), np.nan)), 1)
        of = {metric: known[:, at] for metric, at in self._cards.items()}
        hosts = known[:, self._hosts]
        inlet_c = hosts[:, [_host(INLET)]]
        ours, idle = of[OURS] > 0, of["gpu_utilization_ratio"] < IDLE_RATIO
        held_back = ours | (of[THROTTLED] > HELD_BACK_RATIO)
        cards = np.stack([_scaled(reading, of[reading.metric], inlet_c, of[POWER]) for reading in OF_CARDS], 2)
        for at, reading in enumerate(OF_CARDS):
            silent = (idle & (not reading.idle)) | (held_back if reading.limited == 0 else ours & (reading.limited == 1))
            cards[:, :, at][silent] = np.nan
        told = np.stack([_scaled(reading, hosts[:, at], inlet_c[:, 0], None) for at, reading in enumerate(OF_HOSTS)], 1)
        told[:, _host("host_temperature_max_celsius")] -= inlet_c[:, 0]
        return Readings(cards, told, np.asarray(ours.any(1)))


def _host(metric: str) -> int:
    return next(at for at, reading in enumerate(OF_HOSTS) if reading.metric == metric)


def _scaled(reading: Reading, values: Array, inlet_c: Array, power_w: Array | None) -> Array:
    match reading.form:
        case "share":
            scaled: Array = np.log(np.maximum(values, 0.0) + reading.least)
        case "heat":
            assert power_w is not None
            scaled = np.log(np.maximum(values - inlet_c, 0.0) + 1.0) - np.log(np.maximum(power_w, 1.0))
        case "rare":
            scaled = np.sqrt(60.0 * np.maximum(values, 0.0))
        case "plain":
            scaled = values.copy()
    return scaled
