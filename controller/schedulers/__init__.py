"""The schedulers of jobs: who places work on nodes, and is asked to take it away. One is a file here and a line in this table."""

from collections.abc import Callable, Collection, Mapping
from typing import Final

from gpuwarden.controller.schedulers.dry_run import DryRun
from gpuwarden.controller.schedulers.kubernetes import Kubernetes
from gpuwarden.controller.schedulers.scheduler import Scheduler
from gpuwarden.controller.schedulers.slurm import Slurm

KINDS: Final[Mapping[str, Callable[[Collection[str], str], Scheduler]]] = {
    "dry-run": lambda nodes, _: DryRun(nodes),
    "kubernetes": Kubernetes,
    "slurm": lambda nodes, _: Slurm(nodes),
}
"""From the names of the nodes that are ours to drain, and the path of a kubeconfig, which only Kubernetes reads."""
