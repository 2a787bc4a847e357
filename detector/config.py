"""The detector's configuration."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gpuwarden.core.address import Address
from gpuwarden.core.bus import BusConfig
from gpuwarden.core.config import option
from gpuwarden.detector.machine import DetectorSetup


@dataclass(frozen=True, slots=True)
class HealthConfig:
    """Models of what is usual for each node, as `gpuwarden train` makes them."""

    registry: Path = option("folder that `gpuwarden train` and `gpuwarden models` write to; looked at once a minute")


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
    health: HealthConfig | None = option("judge nodes by what was learned of them; without it they are not", default=None)

    def problems(self) -> Iterator[str]:
        """What the types cannot say."""
        if not self.group:
            yield "group: is empty"
        if self.metrics_listen is not None and not self.metrics_listen.loopback and self.tls_dir is None:
            yield f"metrics_listen: is {self.metrics_listen}, should be a loopback address such as 127.0.0.1 where there is no tls_dir"
        if not 2 <= self.stale_s < self.forget_s:
            yield f"stale_s: is {self.stale_s:g}, should be 2 (telemetry comes once a second) to forget_s ({self.forget_s:g})"
        if self.max_nodes < 1:
            yield f"max_nodes: is {self.max_nodes}, should be 1 or more"

    @property
    def setup(self) -> DetectorSetup:
        return DetectorSetup(self.stale_s, self.forget_s, self.max_nodes)
