"""The schedulers of jobs: who places work on nodes, and is asked to take it away. One is a file here and a line in this table."""

from collections.abc import Callable, Collection, Mapping
from typing import Final

from gpuwarden.controller.schedulers.dry_run import DryRun
from gpuwarden.controller.schedulers.scheduler import Scheduler
from gpuwarden.controller.schedulers.slurm import Slurm

KINDS: Final[Mapping[str, Callable[[Collection[str]], Scheduler]]] = {"dry-run": DryRun, "slurm": Slurm}
"""From the names of the nodes that are ours to drain."""
