"""The table of collectors. Each factory raises Unsupported where this node has no such hardware."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from gpuwarden.agent.collectors import fake, host, infiniband, nvml
from gpuwarden.agent.config import AgentConfig
from gpuwarden.agent.reading import Collector

COLLECTORS: Final[Mapping[str, Callable[[AgentConfig], Collector]]] = MappingProxyType({
    "nvml": nvml.open,
    "host": host.open,
    "infiniband": infiniband.open,
    "fake": fake.open,
})
