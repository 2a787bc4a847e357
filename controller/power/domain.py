"""A power domain as the operator writes it: what the breaker carries, and what hangs on it."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gpuwarden.controller.policies import POLICIES
from gpuwarden.controller.power.hostlist import BadHostlist, expand
from gpuwarden.controller.power.level import Level
from gpuwarden.controller.power.limit import CEILING_RATIO, HOT_TRIP_HEAT_S, LimitConfig
from gpuwarden.controller.power.meter_config import MeterConfig
from gpuwarden.controller.power.node_class import NodeClass
from gpuwarden.controller.power.ranks import rank_problems
from gpuwarden.controller.power.topology import Contingency, Topology, name_problems, tree_problems
from gpuwarden.controller.power.tree import Tree, tree_of
from gpuwarden.core.config import option


@dataclass(frozen=True, slots=True)
class DomainConfig:
    """Nodes, the limit above them all, and those in between."""

    name: str = option("name of the domain")
    rating_w: float = option("what the breaker carries for ever: 80 % of a UL breaker's rating unless it is 100 %-rated")
    classes: tuple[NodeClass, ...] = option("the nodes, by class")
    budget_w: float | None = option("what the row may draw; at most rating_w, which is the default", default=None)
    mode: str = option("observe, notify or auto", default="observe")
    policy: str = option("who gets how much: fair-share, headroom, polca, dynamo or none; docs/policies.md says when to use which", default="fair-share")
    priorities: tuple[str, ...] = option("priorities of classes, who gives first first; fair-share and none know none", default=("low", "high"))
    ramp_w_per_s: float | None = option("by how much what training nodes draw may rise in a second; headroom only", default=None)
    trip_heat: float = option("trip of dE/dt = (I/Ir)^2 - 1 from hot, seconds: the lower edge of the maker's band", default=HOT_TRIP_HEAT_S)
    ceiling_ratio: float = option("never more than this share of the budget, however short", default=CEILING_RATIO)
    dead_nodes: int | None = option("nodes always counted at the driver's default; default the larger of 1 and 2 %", default=None)
    base_w: float = option("what else hangs on it and cannot be shed, at its largest", default=0.0)
    meter: MeterConfig | None = option("what measures it; without one, what hangs on it beside our nodes is base_w", default=None)
    limits: tuple[LimitConfig, ...] = option("limits below: racks, feeds, phases, a UPS", default=())
    contingencies: tuple[Contingency, ...] = option("what may happen without notice, and must trip nothing either: a feed lost, a UPS on battery", default=())

    def problems(self) -> Iterator[str]:
        """What cannot be, each with its key; a budget below the floors is shown as a sum."""
        if self.mode not in ("observe", "notify", "auto"):
            yield f"mode: is {self.mode!r}, should be observe, notify or auto"
        if self.policy not in POLICIES:
            yield f"policy: is {self.policy!r}, should be {', '.join(POLICIES)}"
        yield from rank_problems(self.priorities, self.classes)
        yield from self._ramp_problems()
        if not (math.isfinite(self.rating_w) and self.rating_w > 0):
            yield f"rating_w: is {self.rating_w:g}, should be above 0"
            return
        if self.ceiling_ratio < 1 or self.trip_heat <= 0:
            yield "ceiling_ratio: at least 1; trip_heat: above 0"
        if self.dead_nodes is not None and self.dead_nodes < 0:
            yield f"dead_nodes: is {self.dead_nodes}, should be at least 0"
            return
        try:
            expand([piece for c in self.classes for piece in c.nodes])
        except BadHostlist as why:
            yield f"classes.nodes: {why}"
            return
        if self.node_count == 0:
            yield "classes: hold no node"
            return
        if problem := budget_problem(self, self.budget_w if self.budget_w is not None else self.rating_w):
            yield f"budget_w: {problem}"
        yield from self._tree_problems()

    def _ramp_problems(self) -> Iterator[str]:
        if self.ramp_w_per_s is None:
            return
        if not self.ramp_w_per_s > 0:
            yield f"ramp_w_per_s: is {self.ramp_w_per_s:g}, should be above 0"
        if self.policy != "headroom" or not any(c.workload == "training" for c in self.classes):
            yield "ramp_w_per_s: is for policy headroom and a class of workload training, and is not kept without both"

    def _tree_problems(self) -> Iterator[str]:
        topology = self.topology()
        wrong = list(name_problems(topology)) or list(tree_problems(topology))
        yield from wrong or floor_problems(self.tree())

    def topology(self) -> Topology:
        root = LimitConfig(
            self.name, self.rating_w, base_w=self.base_w, trip=((2.0, self.trip_heat / 3),), ceiling_ratio=self.ceiling_ratio,
            dead_nodes=self.dead_count, meter=self.meter,
        )
        return Topology(root, self.limits, self.contingencies, expand([piece for c in self.classes for piece in c.nodes]))

    def tree(self) -> Tree:
        return tree_of(self.classes, self.topology())

    @property
    def node_count(self) -> int:
        return sum(len(expand(c.nodes)) for c in self.classes)

    @property
    def dead_count(self) -> int:
        """Nodes kept at the driver's default in every sum (`allocator`: the larger of 1 and 2 %)."""
        wanted = self.dead_nodes if self.dead_nodes is not None else max(1, math.ceil(0.02 * self.node_count))
        return min(wanted, self.node_count)

    def floors_w(self) -> float:
        """All nodes at their floors, but the dearest `dead_count` of them at the driver's default."""
        at_floor, extra = self.base_w + math.fsum(limit.base_w for limit in self.limits), []
        for c in self.classes:
            count = len(expand(c.nodes))
            at_floor += count * c.draw_w(c.gpus * c.floor_w)
            extra += [c.draw_w(c.gpus * c.default_w) - c.draw_w(c.gpus * c.floor_w)] * min(count, self.dead_count)
        return at_floor + sum(sorted(extra)[-self.dead_count :] if self.dead_count else [])


def floor_problems(tree: Tree) -> Iterator[str]:
    """Limits whose floors are more than they carry, each with its sum."""
    for level in tree.levels[:-1]:
        floors_w = level.least_w(level.members.floor_w)
        for number in np.flatnonzero(floors_w > level.ratings_w).tolist():
            yield (
                f"limits: {level.names[number]} carries {level.ratings_w[number]:,.0f} W, below its floors of {floors_w[number]:,.0f} W: "
                f"{level.counts[number]} nodes, {level.dead_counts[number]} of them dead at the driver's default{_spike_shown(level, number)}, {level.other_w[number]:,.0f} W of "
                "base load; lower floor_w or take nodes away"
            )


def _spike_shown(level: Level, number: int) -> str:
    floor_w = level.members.floor_w
    counts = level.least_w(floor_w)[number] > level.totals_w(floor_w)[number]
    return f" and {level.dead_spike_w[number]:,.0f} W over it as they come up" if counts else ""


def budget_problem(domain: DomainConfig, budget_w: float) -> str | None:
    """Why this budget cannot be kept, or None."""
    if not (math.isfinite(budget_w) and budget_w > 0):
        return f"is {budget_w:g} W, should be above 0"
    if budget_w > domain.rating_w:
        return f"is {budget_w:,.0f} W, above the rating of {domain.rating_w:,.0f} W"
    floors_w = domain.floors_w()
    if floors_w > budget_w:
        return (
            f"is {budget_w:,.0f} W, below the floors: {_sum_shown(domain)} + {domain.dead_count} dead at the driver's default"
            f" = {floors_w:,.0f} W; raise the budget, lower floor_w or take nodes away"
        )
    return None


def _sum_shown(domain: DomainConfig) -> str:
    return " + ".join(
        f"{len(expand(c.nodes))} x ({c.base_w:,.0f} + {c.slope:g} x {1 + c.gain_error:g} x {c.gpus} x {c.floor_w:g} W)"
        for c in domain.classes
    )
