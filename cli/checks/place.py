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
    from gpuwarden.core.address import Address
    from gpuwarden.core.bus import BusConfig

CONFIG_DIR: Final = Path("/etc/gpuwarden")


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
        config: AgentConfig | None = self._good("agent")
        return config

    @property
    def limiter(self) -> "LimiterConfig | None":
        config: LimiterConfig | None = self._good("limiter")
        return config

    @property
    def controller(self) -> "ControllerConfig | None":
        config: ControllerConfig | None = self._good("controller")
        return config

    def buses(self) -> dict[str, "BusConfig"]:
        """By daemon, of those that have one."""
        return self._of_each("bus")

    def metrics_pages(self) -> dict[str, tuple["Address", Path | None]]:
        """Address and folder of certificates by daemon, of those that serve one."""
        folders = self._of_each("tls_dir")
        return {daemon: (address, folders.get(daemon)) for daemon, address in self._of_each("metrics_listen").items()}

    def _of_each(self, key: str) -> dict[str, Any]:
        values = ((daemon, getattr(self._good(daemon), key, None)) for daemon in self.daemons())
        return {daemon: value for daemon, value in values if value is not None}

    def _good(self, daemon: str) -> Any:
        try:
            return load(self.file(daemon), config_of(daemon))
        except (ConfigError, ModuleNotFoundError):
            return None
