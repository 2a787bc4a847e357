"""The cards of a row and what they draw, all at once: arrays are (nodes, GPUs), W and J.

A card draws what its load wants, held back by its clock and, by its own sensor, to its limit, with a first-order lag. The sensor shows the last 25 ms,
refreshed every 100 ms at a phase of the card's own, and is off by a gain of its own (as measured on H100: 25 ms of every 100 ms).
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Watts = NDArray[np.float64]

STEP_S: Final = 0.025
PHASES: Final = 4  # steps from one refresh of a sensor to the next
LAG_S: Final = 0.15
GAIN: Final = 0.04  # sensors are off by at most this; a node class counts with 0.05
IDLE_W: Final = 70.0
CLOCK_MAX_HZ: Final = 1.98e9
CLOCK_POWER: Final = 2.4  # board power goes with about this power of the clock
MIN_W, DEFAULT_W = 200.0, 700.0


class Plant:
    """`host_w` is each node's draw besides its GPUs, which no limit reaches; `slope` is supply watts for a watt at a GPU."""

    def __init__(self, host_w: Watts, gpus: int, slope: float, chance: np.random.Generator) -> None:
        shape = len(host_w), gpus
        self.host_w, self.slope = host_w, slope
        self.demand_w = np.full(shape, IDLE_W)
        self.limit_w = np.full(shape, DEFAULT_W)
        self.clock_ratio = np.ones(shape)  # what a lock leaves of the highest clock
        self.power_w = np.full(shape, IDLE_W)
        self.energy_j = np.zeros(shape)
        self._gain = 1.0 + chance.uniform(-GAIN, GAIN, shape)
        self._phase = chance.integers(0, PHASES, shape)
        self.sensor_w = self.power_w * self._gain
        self._steps = 0

    def advance(self) -> None:
        """One step of STEP_S."""
        self._steps += 1
        clocked_w = IDLE_W + (DEFAULT_W - IDLE_W) * self.clock_ratio**CLOCK_POWER
        target_w = np.minimum(np.minimum(self.demand_w, np.where(self.clock_ratio < 1.0, clocked_w, np.inf)), self.limit_w / self._gain)
        self.power_w += (target_w - self.power_w) * (1.0 - np.exp(-STEP_S / LAG_S))
        self.energy_j += self.power_w * STEP_S
        refreshed = self._phase == self._steps % PHASES
        self.sensor_w = np.where(refreshed, self.power_w * self._gain, self.sensor_w)

    def node_w(self) -> Watts:
        """True draw of each node."""
        drawn_w: Watts = self.host_w + self.slope * self.power_w.sum(axis=1)
        return drawn_w

    def wanted_w(self) -> Watts:
        """What each node would draw if no limit held it back."""
        wanted_w: Watts = self.host_w + self.slope * self.demand_w.sum(axis=1)
        return wanted_w
