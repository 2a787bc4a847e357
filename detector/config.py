"""The detector's configuration."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gpuwarden.core.address import Address
from gpuwarden.core.bus import BusConfig
from gpuwarden.core.config import option
from gpuwarden.detector.health.summaries import RoomSetup
from gpuwarden.detector.machine import DetectorSetup

MOST_BUDGET: Final = 1.0


@dataclass(frozen=True, slots=True)
class HealthConfig:
    """Judging nodes by what is usual: beside each other, and by models of each as `gpuwarden train` makes them."""

    budget_per_node_day: float = option("false findings of a node beside others that somebody will look at", default=0.1)
    registry: Path | None = option("folder that `gpuwarden train` and `gpuwarden models` write to, looked at once a minute; without it no models", default=None)


@dataclass(frozen=True, slots=True)
class DetectorConfig:
    """Everything a detector is told from outside."""

    bus: BusConfig = option("where telemetry comes from and findings go")
    group: str = option("consumer group; detectors of one group share the nodes among them", default="gpuwarden-detector")
    metrics_listen: Address | None = option("Prometheus metrics; without it none", default=None)
    tls_dir: Path | None = option("folder with ca.crt, tls.crt, tls.key for the metrics; without it loopback only", default=None)
    stale_s: float = option("a node that has been silent for so long is stale", default=5.0)
    forget_s: float = option("a node, or a card of one, that is gone for so long was taken away", default=86_400.0)
    max_nodes: int = option("telemetry of more nodes than this is refused", default=20_000)
    health: HealthConfig | None = option("judge nodes beside each other, and by what was learned of them; without it they are not", default=None)

    def problems(self) -> Iterator[str]:
        """What the types cannot say."""
        if not self.group:
            yield "group: is empty"
        if self.metrics_listen is not None and not self.metrics_listen.loopback and self.tls_dir is None:
            yield f"metrics_listen: is {self.metrics_listen}, should be a loopback address such as 127.0.0.1 where there is no tls_dir"
        if not 2 <= self.stale_s < self.forget_s:
            yield f"stale_s: is {self.stale_s:g}, should be 2 (telemetry comes once a second) to forget_s ({self.forget_s:g})"
        if self.health is not None and not 0 < self.health.budget_per_node_day <= MOST_BUDGET:
            yield f"health.budget_per_node_day: is {self.health.budget_per_node_day:g}, should be above 0, and {MOST_BUDGET:g} or less"
        if self.max_nodes < 1:
            yield f"max_nodes: is {self.max_nodes}, should be 1 or more"

    @property
    def setup(self) -> DetectorSetup:
        """`run` gives a room the start that is its own."""
        room = RoomSetup(self.group, "", self.health.budget_per_node_day) if self.health is not None else None
        return DetectorSetup(self.stale_s, self.forget_s, self.max_nodes, room)
