"""A node's cards and host under load. Arrays are (nodes, cards) or (nodes,).

An H100's figures: 700 W at 1.98 GHz, a power that goes with the 2.4th power of the clock, some 40 K of core temperature at full power with a time
constant of 1.5 minutes. Every card and node is a little different from the next, and stays so.
"""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gpuwarden.sim.health.work import Work
from gpuwarden.sim.plant import CLOCK_MAX_HZ, CLOCK_POWER, DEFAULT_W

Values = NDArray[np.float64]

CARDS: Final = 8
IDLE_W: Final = 75.0
LIVE_W: Final = 60.0  # what a busy card draws besides its arithmetic
COMPUTE_W: Final = 480.0
MEMORY_W: Final = 160.0
IDLE_HZ: Final = 345e6
RESISTANCE: Final = 0.055  # K/W from the air to the core, at the fans' usual speed
MEMORY_RESISTANCE: Final = 0.065
KEEPS: Final = 0.5  # of a temperature's distance to where it goes, after a minute
SLOWS_C: Final = 88.0
BANDWIDTH: Final = 3.3e12
ECC_PER_MINUTE: Final = 0.002  # corrected, of a sound card
RAM_BYTES: Final = 2e12
CARD_BYTES: Final = 80e9
NETWORK_BYTES_PER_S: Final = 50e9
GOVERNORS: Final = {"schedutil": (1.6e9, 3.2e9), "performance": (3.5e9, 3.5e9), "powersave": (1.0e9, 1.4e9)}  # clocks at rest and at full load


@dataclass(slots=True)
class Condition:
    """What may be other than it should. Mutable: made anew for each minute, then spoilt by faults and changes."""

    lock_hz: Values
    limit_w: Values
    ours: Values  # 1: the limit is gpuwarden's
    resistance: Values  # times what it should be
    bandwidth: Values  # share of it that is left
    more_ecc_per_minute: Values
    fan: Values  # share of its speed that the slowest fan keeps
    inlet_c: Values
    governor: list[str] = field(default_factory=list)


def sound(nodes: int) -> Condition:
    """Nothing is wrong anywhere."""
    cards = nodes, CARDS
    return Condition(
        np.full(cards, CLOCK_MAX_HZ), np.full(cards, DEFAULT_W), np.zeros(cards), np.ones(cards), np.ones(cards), np.zeros(cards),
        np.ones(nodes), np.zeros(nodes), ["schedutil"] * nodes,
    )


class Bodies:
    """The nodes as they were built, and their temperatures. Mutable; asked minute after minute."""

    def __init__(self, nodes: int, seed: int) -> None:
        cards = nodes, CARDS
        self._chance = chance = np.random.default_rng([seed, 2])
        self._storms = np.random.default_rng([seed, 3])
        self._resistance = RESISTANCE * np.exp(0.06 * chance.standard_normal(cards)) * np.linspace(0.95, 1.08, CARDS)  # those behind get warmer air
        self._leak = np.exp(0.03 * chance.standard_normal(cards))
        self._sensor = np.exp(0.02 * chance.standard_normal(cards))
        self._inlet_c = 24.0 + 1.5 * chance.standard_normal(nodes)
        self._phase = chance.uniform(0, 2 * np.pi)
        self._core_c, self._memory_c = np.full(cards, 35.0), np.full(cards, 38.0)

    def minute(self, minute: int, work: Work, now: Condition) -> dict[str, Values]:
        """Means of this minute, by metric: (nodes, cards) for cards, (nodes,) for hosts. Counters are rates."""
        inlet_c = self._inlet_c + 1.2 * np.sin(2 * np.pi * minute / 1440.0 + self._phase) + now.inlet_c
        pace, clock_hz, power_w, capped = self._pace(work, now)
        speed = self._together(work, pace)
        busy = work.utilization[:, None] > 0.01
        power_w = np.where(busy, power_w - (pace - speed) * COMPUTE_W * work.compute[:, None] * 0.6, power_w)  # who waits draws less
        fan = np.clip(0.35 + 0.012 * (self._core_c.max(axis=1) - 45.0), 0.35, 1.0)
        cooling = (0.35 / fan) ** 0.25
        warms = self._resistance * now.resistance * (cooling * now.fan**-0.4)[:, None]
        self._core_c = inlet_c[:, None] + 4.0 + KEEPS * (self._core_c - inlet_c[:, None] - 4.0) + (1 - KEEPS) * warms * power_w
        towards_c = inlet_c[:, None] + 8.0 + warms * (MEMORY_RESISTANCE / RESISTANCE) * (0.7 * power_w + 120 * work.memory[:, None] * speed)
        self._memory_c = KEEPS * self._memory_c + (1 - KEEPS) * towards_c
        return self._told(work, now, speed, clock_hz, power_w, capped, fan, inlet_c)

    def _pace(self, work: Work, now: Condition) -> tuple[Values, Values, Values, Values]:
        """(share of full speed that each card could run at, its clock, its power, share of the time that its limit holds it back)."""
        hot = np.clip((self._core_c - SLOWS_C) / 10.0, 0.0, 0.5)
        clock = np.minimum(now.lock_hz / CLOCK_MAX_HZ, 1.0 - hot)
        busy_w = (COMPUTE_W * work.compute + MEMORY_W * work.memory)[:, None] * self._leak
        room = np.clip((now.limit_w - IDLE_W - LIVE_W) / np.maximum(busy_w, 1.0), 0.05, 10.0) ** (1 / CLOCK_POWER)
        capped = np.clip((clock - room) / 0.05, 0.0, 1.0) * work.utilization[:, None]
        clock = np.minimum(clock, room)
        bound = work.memory[:, None] / np.maximum(work.memory + work.compute, 1e-9)[:, None]
        pace = 1.0 / (bound / now.bandwidth + (1.0 - bound) / clock)
        drawn_w = busy_w * clock**CLOCK_POWER * np.minimum(1.0, pace / clock + 0.5 * bound)
        live = work.utilization[:, None]
        power_w = IDLE_W * (1.0 + 0.002 * (self._core_c - 40.0)) + live**0.3 * (live > 0.01) * (LIVE_W + drawn_w)
        return pace, np.where(live > 0.01, clock * CLOCK_MAX_HZ, IDLE_HZ), power_w, capped

    def _together(self, work: Work, pace: Values) -> Values:
        """A job whose steps end together goes at the pace of its slowest card."""
        slowest = np.full(int(work.group.max()) + 1, np.inf)
        np.minimum.at(slowest, work.group, pace.min(axis=1))
        return np.where(work.waits[:, None], slowest[work.group][:, None], pace)

    def _told(
        self, work: Work, now: Condition, speed: Values, clock_hz: Values, power_w: Values, capped: Values, fan: Values, inlet_c: Values
    ) -> dict[str, Values]:
        live, noise = work.utilization[:, None], self._noise
        nodes = len(inlet_c)
        rest_hz, full_hz = np.array([GOVERNORS[name] for name in now.governor]).T
        asked = np.clip(work.host * (0.5 + 0.5 * speed.mean(axis=1)), 0.0, 1.0)
        cores_hz = rest_hz + (full_hz - rest_hz) * np.minimum(1.0, 3.0 * asked)
        host = np.clip(asked * 3.0e9 / cores_hz, 0.0, 1.0)
        host_w = 140.0 + 500.0 * host * (cores_hz / 3.2e9) ** 2 + 60.0 * (cores_hz / 3.5e9) ** 2
        moved = work.network * speed.mean(axis=1) * NETWORK_BYTES_PER_S
        one = np.ones((nodes, CARDS))
        shown_w = noise(power_w * self._sensor, 0.006)
        return {
            "gpu_power_watts": shown_w, "gpu_power_average_watts": noise(power_w * self._sensor, 0.003), "gpu_energy_joules_total": noise(power_w, 0.003),
            "gpu_power_limit_requested_watts": now.limit_w, "gpu_power_limit_enforced_watts": now.limit_w, "gpu_capped_by_us": now.ours,
            "gpu_sm_clock_hertz": noise(clock_hz, 0.002), "gpu_memory_clock_hertz": 2.619e9 * one,
            "gpu_utilization_ratio": np.clip(noise(live * one, 0.004), 0, 1),
            "gpu_memory_utilization_ratio": np.clip(noise(work.memory[:, None] * speed / now.bandwidth, 0.01), 0, 1),
            "gpu_memory_used_bytes": noise(work.memory_used[:, None] * CARD_BYTES * one, 0.001),
            "gpu_temperature_celsius": self._degrees(self._core_c), "gpu_memory_temperature_celsius": self._degrees(self._memory_c),
            "gpu_throttle_power_seconds_total": capped * self._chance.uniform(0.9, 1.0, capped.shape),
            "gpu_throttle_software_thermal_seconds_total": np.clip((self._core_c - SLOWS_C) / 10.0, 0.0, 1.0),
            "gpu_ecc_corrected_volatile_total": self._errors(now.more_ecc_per_minute) / 60.0,
            "gpu_pcie_receive_bytes_per_second": noise(2e9 * work.host[:, None] * speed + 1e6, 0.05),
            "gpu_pcie_transmit_bytes_per_second": noise(5e8 * work.host[:, None] * speed + 1e6, 0.05),
            "host_cpu_utilization_ratio": noise(host, 0.03), "host_load1": noise(host * 192.0 + 1.0, 0.05), "host_load5": noise(host * 192.0 + 1.0, 0.02),
            "host_cpu_system_ratio": noise(0.2 * host, 0.05), "host_context_switches_total": noise(2e4 + 4e5 * host, 0.05),
            "host_cpu_clock_mean_hertz": noise(cores_hz, 0.01), "host_cpu_clock_min_hertz": noise(0.9 * cores_hz, 0.02),
            "host_cpu_power_watts": noise(host_w, 0.01), "host_memory_available_bytes": noise(RAM_BYTES * (0.95 - 0.4 * work.memory_used), 0.002),
            "host_network_receive_bytes_total": noise(moved, 0.02), "host_network_transmit_bytes_total": noise(moved, 0.02),
            "host_disk_written_bytes_total": noise(1e6 + 8e9 * work.writes, 0.1), "host_pressure_io_ratio": noise(0.01 + 0.3 * work.writes, 0.1),
            "host_temperature_max_celsius": self._degrees(inlet_c + 25.0 + 0.06 * host_w), "host_bmc_inlet_celsius": self._degrees(inlet_c),
            "host_bmc_fan_min_rpm": noise(12_000.0 * fan * now.fan, 0.01),
            "host_bmc_power_watts": noise((power_w.sum(axis=1) + host_w) * 1.06 + 900.0 * fan**3, 0.005),
        }

    def _noise(self, values: Values, share: float) -> Values:
        return values * (1.0 + share * self._chance.standard_normal(values.shape))

    def _errors(self, more_per_minute: Values) -> Values:
        """As many as befall each card. What is more than usual takes nothing of the chance that all share."""
        usual, more = self._chance.poisson(ECC_PER_MINUTE, more_per_minute.shape), self._storms.poisson(more_per_minute)
        return (usual + more).astype(np.float64)

    def _degrees(self, values_c: Values) -> Values:
        """A mean of readings in whole degrees."""
        return values_c + 0.15 * self._chance.standard_normal(values_c.shape)
