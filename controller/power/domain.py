"""A power domain as the operator writes it: what the breaker carries, and what hangs on it."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from gpuwarden.controller.power.hostlist import BadHostlist, expand
from gpuwarden.core.config import option


@dataclass(frozen=True, slots=True)
class NodeClass:
    """Nodes that are built alike. Defaults are an HGX H100's."""

    name: str = option("name of the class, for messages")
    nodes: tuple[str, ...] = option("node names; `gpu[01-64]` is a range")
    gpus: int = option("GPUs of a node", default=8)
    base_w: float = option("what a node draws besides its GPUs, at worst: nameplate less the GPUs", default=2300.0)
    floor_w: float = option("limit of one GPU that always holds, also without the controller", default=200.0)
    default_w: float = option("limit of one GPU after a driver load", default=700.0)
    slope: float = option("watts at the supply for one watt at a GPU (supply losses and fans)", default=1.10)
    gain_error: float = option("by how much a GPU may draw more than its limit, as its own sensor's error", default=0.05)
    settle_s: float = option("time until a card obeys a new limit", default=1.0)

    def problems(self) -> Iterator[str]:
        """What cannot be, each with its key."""
        if not 0 < self.gpus <= 64:
            yield f"gpus: is {self.gpus}, should be 1 to 64"
        if not 0 < self.floor_w <= self.default_w:
            yield f"floor_w: is {self.floor_w:g}, should be above 0 and at most default_w ({self.default_w:g})"
        if self.base_w < 0 or self.settle_s < 0 or not 0 <= self.gain_error < 1 or self.slope < 1:
            yield "base_w, settle_s: at least 0; gain_error: 0 to 1; slope: at least 1"
        try:
            expand(self.nodes)
        except BadHostlist as why:
            yield f"nodes: {why}"

    def draw_w(self, limit_w: float) -> float:
        """Worst steady draw of a node whose GPUs' limits add up to `limit_w`."""
        return self.base_w + self.slope * (1 + self.gain_error) * limit_w


@dataclass(frozen=True, slots=True)
class DomainConfig:
    """One limit and the nodes below it."""

    name: str = option("name of the domain")
    rating_w: float = option("what the breaker carries for ever: 80 % of a UL breaker's rating unless it is 100 %-rated")
    classes: tuple[NodeClass, ...] = option("the nodes, by class")
    budget_w: float | None = option("what the row may draw; at most rating_w, which is the default", default=None)
    mode: str = option("observe, notify or auto", default="observe")
    policy: str = option("who gets how much: fair-share", default="fair-share")
    trip_heat: float = option("trip of dE/dt = (I/Ir)^2 - 1 from hot, seconds: the lower edge of the maker's band", default=11.0)
    ceiling_ratio: float = option("never more than this share of the budget, however short", default=1.4)
    dead_nodes: int | None = option("nodes always counted at the driver's default; default the larger of 1 and 2 %", default=None)

    def problems(self) -> Iterator[str]:
        """What cannot be, each with its key; a budget below the floors is shown as a sum."""
        if self.mode not in ("observe", "notify", "auto"):
            yield f"mode: is {self.mode!r}, should be observe, notify or auto"
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
        at_floor, extra = 0.0, []
        for c in self.classes:
            count = len(expand(c.nodes))
            at_floor += count * c.draw_w(c.gpus * c.floor_w)
            extra += [c.draw_w(c.gpus * c.default_w) - c.draw_w(c.gpus * c.floor_w)] * min(count, self.dead_count)
        return at_floor + sum(sorted(extra)[-self.dead_count :] if self.dead_count else [])


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
