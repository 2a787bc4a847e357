"""What a clock lock costs and saves: one table, from which everything in the simulated row follows.

Per clock, as a share of the part's highest: what is left of the power above idle, and by how much a prompt and a token take longer.
Sources: at 0.787 (1110 of 1410 MHz) the peak falls by 20 % and a request takes at most 7 % longer (POLCA, ASPLOS'24); an H100
held to half its power takes 1.30 times as long for a prompt and no longer for a token (Splitwise's measurements). Between: prompts are
bound by arithmetic and stretch as the clock shrinks, tokens are bound by memory. Those rows, and the brake's (288 MHz), are ours: no source has them.
"""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

Ratios = NDArray[np.float64]

CLOCKS: Final = (0.204, 0.787, 0.904, 0.926, 1.0)
POWER: Final = (0.22, 0.76, 0.89, 0.915, 1.0)  # of the power above idle
PROMPT_TIME: Final = (4.90, 1.25, 1.10, 1.075, 1.0)
TOKEN_TIME: Final = (2.50, 1.03, 1.01, 1.008, 1.0)


@dataclass(frozen=True)
class Relation:
    """`saving` and `cost` stretch the table's distance from 1: 0.5 halves what a lock saves, or what it costs, 1.5 is half as much again."""

    saving: float = 1.0
    cost: float = 1.0
    _clocks: Ratios = field(default_factory=lambda: np.array(CLOCKS))

    def power(self, clocks: Ratios) -> Ratios:
        """Share of the power above idle that is left, never below a twentieth."""
        left: Ratios = np.maximum(0.05, 1.0 - self.saving * (1.0 - np.interp(clocks, self._clocks, POWER)))
        return left

    def prompt_time(self, clocks: Ratios) -> Ratios:
        stretched: Ratios = 1.0 + self.cost * (np.interp(clocks, self._clocks, PROMPT_TIME) - 1.0)
        return stretched

    def token_time(self, clocks: Ratios) -> Ratios:
        stretched: Ratios = 1.0 + self.cost * (np.interp(clocks, self._clocks, TOKEN_TIME) - 1.0)
        return stretched

    def squeezed(self, left: float) -> tuple[float, float]:
        """(prompt time, token time) of a card whose limit leaves so much of the power above idle: at the clock that it goes down to."""
        clock = np.interp([left], self.power(self._clocks), self._clocks)
        return float(self.prompt_time(clock)[0]), float(self.token_time(clock)[0])
