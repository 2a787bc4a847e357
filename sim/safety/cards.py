"""The cards of a site and what they truly draw. One entry a card, a node's cards side by side; W.

A card draws what its load wants, held to its limit by a sensor that is off by a gain of its own. A new limit below the old one is obeyed
only once it has settled; one above it is overshot: by half for less than 250 ms, by a tenth for up to a second (reference of H100 fleets).
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gpuwarden.controller.power.node_class import NodeClass
from gpuwarden.sim.safety.site import Values

SPIKE: Final = (1.5, 0.249)
TAIL: Final = (1.1, 0.999)
HOLDS: Final = 16  # limits that a card may not have left yet
QUICKEST_S: Final = 0.1  # a card obeys a new limit no sooner
IDLE_SHARE: Final = 0.1


class Cards:
    """`at`: of node k the cards are `at[k]` to `at[k + 1]`. `settle_s`: no card takes longer. `off`: nodes whose cards draw nothing."""

    def __init__(self, classes: Sequence[NodeClass], settle_s: float, chance: np.random.Generator) -> None:
        self._chance, self.settle_s = chance, settle_s
        gpus = np.array([made.gpus for made in classes])
        self.at = np.concatenate(([0], np.cumsum(gpus)))
        self._parts = [slice(begin, end) for begin, end in pairwise(self.at.tolist())]
        self.node_of = np.repeat(np.arange(len(classes)), gpus)
        self.default_w = np.array([made.default_w for made in classes])[self.node_of]
        self.floor_w = np.array([made.floor_w for made in classes])[self.node_of]
        error = np.array([made.gain_error for made in classes])[self.node_of]
        cards = len(self.default_w)
        # Of every other site all is as far off as was declared, which is what adds up; of the others some of it.
        edge = bool(chance.random() < 0.5)
        worst = edge | (chance.random(cards) < 0.3)
        self.gain: Values = np.where(worst, 1 / (1 + error), chance.uniform(1 / (1 + error), 1 + error))
        self.slope = np.array([made.slope for made in classes]) * np.where(edge | (chance.random(len(classes)) < 0.3), 1.0, 0.97)
        self.base_w = np.array([made.base_w for made in classes])
        self.host_share = np.ones(len(classes))
        self.limit_w = self.floor_w.copy()
        self.demand_w = IDLE_SHARE * self.default_w
        self.off = np.zeros(len(classes), bool)
        self._held_w, self._held_until_s = np.zeros((HOLDS, cards)), np.zeros((HOLDS, cards))
        self._turn = [0] * len(classes)
        self._spike_until_s, self._tail_until_s = np.zeros(cards), np.zeros(cards)
        self._changing_until_s = 0.0
        self.power_w = self.demand_w.copy()
        self._sensed_w: list[float] | None = None  # of what is drawn now, as soon as anybody reads it
        self.sets = [0] * len(classes)  # how often each node's limits were set

    def part(self, node: int) -> slice:
        """Where its cards are."""
        return self._parts[node]

    def set_limits(self, node: int, limits_w: Sequence[float] | Values, now_s: float) -> None:
        """The driver has them; the cards follow in their own time."""
        part = self.part(node)
        new_w, old_w = np.asarray(limits_w, float), self.limit_w[part].copy()
        size, raised, lowered = len(new_w), new_w > old_w, new_w < old_w
        settle_s, spike_s, tail_s = self._lasts_s(size)
        if np.count_nonzero(lowered):
            turn = self._turn[node] = (self._turn[node] + 1) % HOLDS
            self._held_w[turn, part], self._held_until_s[turn, part] = old_w, np.where(lowered, now_s + settle_s, 0.0)
        if np.count_nonzero(raised):
            np.copyto(self._spike_until_s[part], now_s + spike_s, where=raised)
            np.copyto(self._tail_until_s[part], now_s + tail_s, where=raised)
        self.limit_w[part] = new_w
        self.sets[node] += 1
        self._changing_until_s = now_s + max(TAIL[1], self.settle_s)

    def _lasts_s(self, cards: int) -> tuple[Values | float, Values | float, Values | float]:
        """For each card: until it obeys a lower limit, and how long it overshoots a higher one, by half and by a tenth. Every other time as long as can be."""
        if self._chance.random() < 0.5:
            return self.settle_s, SPIKE[1], TAIL[1]
        settle, spike, tail = self._chance.random((3, cards))
        return QUICKEST_S + (self.settle_s - QUICKEST_S) * settle, SPIKE[1] * spike, TAIL[1] * tail

    def advance(self, now_s: float) -> None:
        """What each card draws from now on."""
        held_w = self.limit_w
        wanted_w: Values = self.demand_w
        if now_s < self._changing_until_s:
            held_w = self.held_w(now_s)
            over = np.where(now_s < self._spike_until_s, SPIKE[0], np.where(now_s < self._tail_until_s, TAIL[0], 1.0))
            held_w, wanted_w = held_w * over, np.where(wanted_w > self.limit_w, wanted_w * over, wanted_w)
        self.power_w = np.minimum(wanted_w, held_w / self.gain)
        if self.off.any():
            self.power_w = np.where(self.off[self.node_of], 0.0, self.power_w)
        self._sensed_w = None

    def held_w(self, now_s: float) -> Values:
        """The limit that each card may yet be obeying."""
        held_w: Values = np.where(now_s < self._held_until_s, self._held_w, 0.0).max(axis=0)
        held_w = np.maximum(held_w, self.limit_w)
        return held_w

    def fresh(self, now_s: float) -> NDArray[np.bool_]:
        """Nodes that may yet overshoot a raise."""
        flags: NDArray[np.bool_] = np.logical_or.reduceat(now_s < self._tail_until_s, self.at[:-1])
        return flags

    def sensed_w(self, node: int) -> tuple[float, ...]:
        """What its sensors show, one a card."""
        if self._sensed_w is None:
            self._sensed_w = (self.power_w * self.gain).tolist()
        return tuple(self._sensed_w[self._parts[node]])

    def sums(self, of_cards: Values) -> Values:
        """Of each node."""
        sums: Values = np.add.reduceat(of_cards, self.at[:-1])
        return sums

    def draws_w(self) -> Values:
        """Of each node, at its supply."""
        drawn_w: Values = self.host_share * self.base_w + self.slope * self.sums(self.power_w)
        return drawn_w

    def wanted_w(self) -> Values:
        """What each node would draw if nothing held it back."""
        wanted_w: Values = self.host_share * self.base_w + self.slope * self.sums(np.minimum(self.demand_w, self.default_w))
        return wanted_w
