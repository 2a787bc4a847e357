"""The table of tests that an agent can run. Which of them it may, and how, is in its configuration."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from gpuwarden.agent.probes import command, dcgmi, nccl_tests
from gpuwarden.agent.probes.kind import Kind
from gpuwarden.agent.probes.matmul import MATMUL
from gpuwarden.agent.probes.memory import MEMORY

PROBES: Final[Mapping[str, Kind]] = MappingProxyType({
    "matmul": MATMUL,
    "memory": MEMORY,
    "dcgmi": Kind(dcgmi.argv, dcgmi.read),
    "nccl-tests": Kind(nccl_tests.argv, nccl_tests.read),
    "command": Kind(command.argv, command.read),
})
