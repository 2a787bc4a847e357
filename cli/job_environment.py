"""What a job's environment needs so that this node's agent hears of it: from its ranks, NCCL Inspector, NCCL's RAS port and the Flight Recorder."""

import os
import re
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from gpuwarden.cli.torchrun import environment

if TYPE_CHECKING:
    from gpuwarden.agent.config import AgentConfig

FLIGHT_RECORDER: Final = {"TORCH_NCCL_ENABLE_MONITORING": "1", "TORCH_FR_DUMP_ON_TIMEOUT": "1"}
INTERVAL_US: Final = "1000000"  # without it Inspector writes nothing
_JOB: Final = re.compile(r"[A-Za-z0-9._-]{1,100}")


def wanted(config: "AgentConfig", before: Mapping[str, str]) -> dict[str, str]:
    """Of what the agent's configuration asks for; what the job has set itself stays."""
    more = dict(FLIGHT_RECORDER)
    if config.inspector_dir is not None and config.inspector_plugin is not None:
        more |= {
            "NCCL_PROFILER_PLUGIN": str(config.inspector_plugin), "NCCL_INSPECTOR_ENABLE": "1", "NCCL_INSPECTOR_DUMP_THREAD_INTERVAL_MICROSECONDS": INTERVAL_US,
            "NCCL_INSPECTOR_DUMP_DIR": str(config.inspector_dir / _job(before)),
        }  # fmt: skip
    if config.ras is not None:
        more |= {"NCCL_RAS_ENABLE": "1", "NCCL_RAS_ADDR": str(config.ras.ports[0])}
    ranks = environment(config.rank_socket, before) if config.rank_socket is not None else {}
    return {**ranks, **{name: value for name, value in more.items() if name not in before}}


def _job(before: Mapping[str, str]) -> str:
    """A folder's name; of a job without one the shell's that asks."""
    named = before.get("SLURM_JOB_ID") or before.get("TORCHELASTIC_RUN_ID") or ""
    return named if _JOB.fullmatch(named) and named.strip(".") else f"shell-{os.getppid()}"


def exports(config: "AgentConfig", before: Mapping[str, str]) -> list[str]:
    """For a shell's `eval`, and for Slurm's task prolog."""
    return [f"export {name}={shlex.quote(value)}" for name, value in wanted(config, before).items()]
