"""The table of collectors. Each factory raises Unsupported where this node has no such hardware."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from gpuwarden.agent.collectors.bmc import open as open_bmc
from gpuwarden.agent.collectors.fake import open as open_fake
from gpuwarden.agent.collectors.host import open as open_host
from gpuwarden.agent.collectors.infiniband import open as open_infiniband
from gpuwarden.agent.collectors.inspector import open as open_inspector
from gpuwarden.agent.collectors.job import open as open_job
from gpuwarden.agent.collectors.nvml import open as open_nvml
from gpuwarden.agent.collectors.ranks import open as open_ranks
from gpuwarden.agent.collectors.ras import open as open_ras
from gpuwarden.agent.config import AgentConfig
from gpuwarden.agent.reading import Collector

COLLECTORS: Final[Mapping[str, Callable[[AgentConfig], Collector]]] = MappingProxyType({
    "nvml": open_nvml,
    "host": open_host,
    "infiniband": open_infiniband,
    "bmc": open_bmc,
    "ranks": open_ranks,
    "inspector": open_inspector,
    "ras": open_ras,
    "job": open_job,
    "fake": open_fake,
})
