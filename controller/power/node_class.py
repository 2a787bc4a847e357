"""Nodes that are built alike, as the operator writes them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from gpuwarden.controller.power.hostlist import BadHostlist, expand
from gpuwarden.core.config import option

WORKLOADS: Final = ("inference", "training")


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
    priority: str = option("one of the domain's `priorities`: who gives power first when it is scarce; default: who gives last", default="")
    workload: str = option("inference or training: the peaks of synchronous training come together, so no room is made of their being apart", default="inference")
    supply_w: float | None = option("what a node's own supplies carry once one of them has failed; no software answers there", default=None)

    def problems(self) -> Iterator[str]:
        """What cannot be, each with its key."""
        if not 0 < self.gpus <= 64:
            yield f"gpus: is {self.gpus}, should be 1 to 64"
        if not 0 < self.floor_w <= self.default_w:
            yield f"floor_w: is {self.floor_w:g}, should be above 0 and at most default_w ({self.default_w:g})"
        if self.base_w < 0 or self.settle_s < 0 or not 0 <= self.gain_error < 1 or self.slope < 1:
            yield "base_w, settle_s: at least 0; gain_error: 0 to 1; slope: at least 1"
        if self.workload not in WORKLOADS:
            yield f"workload: is {self.workload!r}, should be {' or '.join(WORKLOADS)}"
        if self.supply_w is not None and (worst_w := self.draw_w(self.gpus * self.default_w)) > self.supply_w:
            yield (
                f"supply_w: is {self.supply_w:,.0f} W, below the {worst_w:,.0f} W that a node may draw at the driver's default of "
                f"{self.default_w:g} W a GPU: a static limit of the BMC makes that less, and default_w with it"
            )
        try:
            expand(self.nodes)
        except BadHostlist as why:
            yield f"nodes: {why}"

    def draw_w(self, limit_w: float) -> float:
        """Worst steady draw of a node whose GPUs' limits add up to `limit_w`."""
        return self.base_w + self.slope * (1 + self.gain_error) * limit_w
