"""What the limiter's TOML file says."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gpuwarden.core.config import option


@dataclass(frozen=True, slots=True)
class LimiterConfig:
    key_file: Path = option("this node's sealing key, made by `gpuwarden config node-keys`; only root may read it")
    floor_w: float = option("limit of each GPU when no lease runs; the controller's node class must not count on less")
    node: str = option("this node's name in the controller's file; empty: the host's name", default="")
    socket: Path = option("where the agent connects", default=Path("/run/gpuwarden/limiter.sock"))
    socket_group: str = option("group that may connect beside root; the agent's", default="")
    state_file: Path = option("where epoch, mode and floor outlive a restart", default=Path("/var/lib/gpuwarden/limiter.json"))

    def problems(self) -> Iterator[str]:
        """What the types cannot say."""
        if not (math.isfinite(self.floor_w) and self.floor_w > 0):
            yield f"floor_w: is {self.floor_w:g}, should be above 0"
