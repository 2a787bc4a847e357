"""Judges restarts that are briefer than what is left of every lease: no limiter sets another limit meanwhile, but for reasons of its own.

A cut is no restart's doing, and is excused, where a limit above the node may have been warmed meanwhile by more than `WARMED_SHARE`, as far as
sensors tell. How many restarts had such a cut is counted: a judge that excuses everything judges nothing.
"""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gpuwarden.sim.safety.breakers import Breakers
from gpuwarden.sim.safety.cards import Cards
from gpuwarden.sim.safety.server import Server
from gpuwarden.sim.safety.silence import Silence
from gpuwarden.sim.safety.site import Values

SAME_W: Final = 0.5
REPORT_S: Final = 1.0  # of a limiter
WARMED_SHARE: Final = 0.05  # of a trip: warmed by less around a restart, no limit is a reason to cut; not taken from the product, which is judged by it


class Restarts:
    """One at a time. `judged`: so many so far; `excused`: of these, where some cut was."""

    def __init__(self, cards: Cards, servers: Sequence[Server], silence: Silence, breakers: Breakers) -> None:
        self._cards, self._servers, self._silence, self._breakers = cards, servers, silence, breakers
        self.judged = self.excused = 0
        self._caps_w: Values | None = None  # while no limit may change; NaN: may
        self._warmed: NDArray[np.bool_] = np.zeros(len(servers), bool)  # nodes that may be cut
        self._cut = False  # whether one was
        self._sensed_w: Values | None = None  # the highest that each node's sensors have shown since `_watched_s`
        self._watched_s = 0.0

    def watches_power(self, now_s: float) -> None:
        """From now on what sensors show is remembered, to tell whether what hangs on a limit may have been too much."""
        self._sensed_w, self._watched_s = self._sensed(), now_s

    def advance(self) -> None:
        """Cards draw something else from now on."""
        if self._sensed_w is not None:
            self._sensed_w = np.maximum(self._sensed_w, self._sensed())

    def _sensed(self) -> Values:
        return self._cards.sums(self._cards.power_w * self._cards.gain)

    def begin(self) -> None:
        """From now on no limiter may order another limit than its cards have, but those that its guard has at the floor. Power is watched since before."""
        assert self._sensed_w is not None
        limits_w = self._cards.sums(self._cards.limit_w)
        guarded = [self._by_guard(node, limit_w) for node, limit_w in enumerate(limits_w.tolist())]
        self._caps_w = np.where(guarded, math.nan, limits_w)
        self._warmed[:], self._cut = False, False
        self.judged += 1

    def end(self) -> None:
        """Any limit may change again."""
        self._caps_w = self._sensed_w = None

    def ordered(self, node: int, limit_w: float, now_s: float) -> str:
        """A limiter orders its driver to set this, W of the node: what is wrong with that, or ''."""
        if self._caps_w is None:
            return ""
        if self._by_guard(node, limit_w):
            self._caps_w[node] = math.nan
        self._warmed[node] |= self._may_be_warm(node, now_s)
        if not abs(limit_w - self._caps_w[node]) > SAME_W:
            return ""
        if self._warmed[node]:
            self.excused += 0 if self._cut else 1
            self._cut = True
            return ""
        return f"{self._servers[node].name} sets {limit_w:.0f} instead of {self._caps_w[node]:.0f} W after a restart shorter than its lease"

    def _may_be_warm(self, node: int, now_s: float) -> bool:
        assert self._sensed_w is not None
        seconds = now_s - self._watched_s + REPORT_S
        return bool(self._silence.warmed(self._breakers, self._sensed_w, seconds)[node] > WARMED_SHARE)

    def _by_guard(self, node: int, limit_w: float) -> bool:
        """Whether a limit is less than its lease allows: no controller's doing, nor is what ends it."""
        limiter = self._servers[node].limiter
        return limiter is not None and limiter.lease is not None and limit_w < sum(limiter.lease.limits_w) - SAME_W
