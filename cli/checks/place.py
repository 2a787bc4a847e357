"""What the checks look at: one machine, and the configuration that lies on it."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gpuwarden.cli.config import CONFIGS, config_of
from gpuwarden.core.config import ConfigError, load

if TYPE_CHECKING:
    from gpuwarden.agent.config import AgentConfig
    from gpuwarden.agent.limiter.config import LimiterConfig
    from gpuwarden.controller.config import ControllerConfig
    from gpuwarden.core.bus import BusConfig
    from gpuwarden.detector.config import DetectorConfig

CONFIG_DIR: Final = Path("/etc/gpuwarden")
STATE_DIR: Final = Path("/var/lib/gpuwarden")


@dataclass(frozen=True, slots=True)
class Place:
    """`root` is where the machine's own files are looked for. A daemon's config is None if it is absent or bad."""

    config_dir: Path = CONFIG_DIR
    root: Path = Path("/")

    def file(self, daemon: str) -> Path:
        return self.config_dir / f"{daemon}.toml"

    def daemons(self) -> tuple[str, ...]:
        """Those that have a file here."""
        return tuple(daemon for daemon in CONFIGS if self.file(daemon).exists())

    @property
    def agent(self) -> "AgentConfig | None":
        return self._good("agent")

    @property
    def limiter(self) -> "LimiterConfig | None":
        return self._good("limiter")

    @property
    def detector(self) -> "DetectorConfig | None":
        return self._good("detector")

    @property
    def controller(self) -> "ControllerConfig | None":
        return self._good("controller")

    def buses(self) -> dict[str, "BusConfig"]:
        """By daemon, of those that have one."""
        configs = ((daemon, self._good(daemon)) for daemon in self.daemons())
        return {daemon: config.bus for daemon, config in configs if getattr(config, "bus", None) is not None}

    def metrics_pages(self) -> dict[str, Any]:
        """Address by daemon, of those that serve one."""
        configs = ((daemon, self._good(daemon)) for daemon in self.daemons())
        return {daemon: config.metrics_listen for daemon, config in configs if getattr(config, "metrics_listen", None) is not None}

    def _good(self, daemon: str) -> Any:
        try:
            return load(self.file(daemon), config_of(daemon))
        except (ConfigError, ModuleNotFoundError):
            return None
