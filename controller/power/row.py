"""The domain's arithmetic, for all its nodes at once. Arrays have one entry a node, in the configured order; W of GPU limits."""

from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from gpuwarden.controller.power import heat as thermal
from gpuwarden.controller.power.domain import DomainConfig
from gpuwarden.controller.power.hostlist import expand

Watts: TypeAlias = NDArray[np.float64]
Seconds: TypeAlias = NDArray[np.float64]
Flags: TypeAlias = NDArray[np.bool_]

# A card may overshoot a new limit: 1.5 for less than 250 ms, 1.10 for up to a second.
SPIKE_RATIO, SPIKE_S = 1.5, 0.25
SETTLING_RATIO, SETTLING_S = 1.10, 1.0
LAPSE_STEP_S = 0.5  # lease ends are rounded up to this, so that a horizon has few phases


@dataclass(frozen=True)
class Row:
    """Constants of a domain's nodes."""

    names: tuple[str, ...]
    gpus: NDArray[np.int64]
    base_w: Watts
    gain: Watts  # W drawn at worst for one W of limit
    floor_w: Watts
    default_w: Watts
    settle_s: Seconds
    dead_count: int
    trip_heat: float
    ceiling_ratio: float

    @cached_property
    def default_draws_w(self) -> Watts:
        return self.draws_w(self.default_w)

    def draws_w(self, limits_w: Watts) -> Watts:
        """Worst steady draw of each node."""
        return self.base_w + self.gain * limits_w

    def total_w(self, limits_w: Watts) -> float:
        """Worst steady draw of the row, with the `dead_count` nodes for which that is dearest at the driver's default."""
        draws_w = self.draws_w(limits_w)
        return float(draws_w.sum()) + self._dead_extra_w(draws_w)

    def _dead_extra_w(self, draws_w: Watts) -> float:
        if self.dead_count == 0:
            return 0.0
        extra_w = np.maximum(self.default_draws_w - draws_w, 0.0)
        if self.dead_count == 1:
            return float(extra_w.max())  # a row's usual count, and several times as fast
        return float(np.partition(extra_w, -self.dead_count)[-self.dead_count :].sum())

    def carries(self, budget_w: float, heat: float, limits_w: Watts, held_s: Seconds, fresh: Flags) -> bool:
        """Whether nothing trips if every message is lost from now on.

        Each node draws the worst of its limit for `held_s` (inf: for ever) and of its floor from then on; `fresh` nodes
        may overshoot first. Draws only fall along the way, so a row that fits at the start fits for ever.
        """
        now_w = self.total_w(limits_w)
        overshoot_w = float((self.gain * limits_w)[fresh].sum())
        spike_w = now_w + (SPIKE_RATIO - 1) * overshoot_w
        settling_w = now_w + (SETTLING_RATIO - 1) * overshoot_w
        if max(spike_w, now_w) > self.ceiling_ratio * budget_w:
            return False
        if max(spike_w, now_w) <= budget_w:
            return heat < self.trip_heat
        phases = [(spike_w / budget_w, SPIKE_S), (settling_w / budget_w, SETTLING_S - SPIKE_S)]
        if now_w > budget_w:
            phases += self._lapse(budget_w, limits_w, held_s)
        return thermal.peak(heat, phases) < self.trip_heat

    def _lapse(self, budget_w: float, limits_w: Watts, held_s: Seconds) -> list[tuple[float, float]]:
        """(load ratio, seconds) while the leases end one after another; endless at last if floors do not fit."""
        ends_s = np.ceil(held_s / LAPSE_STEP_S) * LAPSE_STEP_S
        phases, past_s = [], 0.0
        for end_s in np.unique(ends_s):
            load_w = self.total_w(np.where(ends_s >= end_s, limits_w, np.minimum(limits_w, self.floor_w)))
            phases.append((load_w / budget_w, min(float(end_s), FOREVER_S) - past_s))
            past_s = float(end_s)
        phases.append((self.total_w(np.where(np.isinf(held_s), limits_w, self.floor_w)) / budget_w, FOREVER_S))
        return phases


FOREVER_S = 1e6  # long enough that any load above the rating trips


def row_of(domain: DomainConfig) -> Row:
    """The arrays of a domain."""
    names: list[str] = []
    rows: list[tuple[float, ...]] = []
    for c in domain.classes:
        members = expand(c.nodes)
        names += members
        one = (c.gpus, c.base_w, c.slope * (1 + c.gain_error), c.gpus * c.floor_w, c.gpus * c.default_w, c.settle_s)
        rows += [one] * len(members)
    gpus, base_w, gain, floor_w, default_w, settle_s = np.array(rows, np.float64).T
    return Row(
        tuple(names), gpus.astype(np.int64), base_w, gain, floor_w, default_w, settle_s,
        domain.dead_count, domain.trip_heat, domain.ceiling_ratio,
    )
