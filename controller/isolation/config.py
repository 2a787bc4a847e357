"""What an operator says of isolation and restart. What is nobody's choice stands beside its reason in `rails/`."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from gpuwarden.controller.isolation.records import ActionClass, Mode
from gpuwarden.controller.power.hostlist import BadHostlist, expand
from gpuwarden.core.config import option

JOB: Final = "{job}"
KINDS: Final = ("dry-run", "kubernetes", "slurm")  # as `schedulers.KINDS`, which reaches for the world
_MODES = tuple(mode.value for mode in Mode)


@dataclass(frozen=True, slots=True)
class GroupConfig:
    """Nodes with the same modes."""

    name: str = option("name of the group")
    nodes: tuple[str, ...] = option("its nodes; `gpu[01-64]` is a range")
    isolation: str = option("of drains, tests and returns: observe, notify, approve or auto", default="observe")
    restart: str = option("of checkpoints, requeues and exclusions: observe, notify, approve or auto", default="observe")
    probe: str = option(
        "test that agents of these nodes offer (`probes` there), run before one is condemned on one witness and before it is given back; empty: none", default=""
    )

    def problems(self) -> Iterator[str]:
        """What the types cannot say."""
        yield from _hostlist_problems("nodes", self.nodes)
        for key, mode in (("isolation", self.isolation), ("restart", self.restart)):
            if mode not in _MODES:
                yield f"{key}: is {mode!r}, should be {', '.join(_MODES)}"

    def mode(self, action_class: ActionClass) -> Mode:
        return Mode(self.isolation if action_class is ActionClass.ISOLATION else self.restart)


@dataclass(frozen=True, slots=True)
class SharedConfig:
    """What several nodes hang on: when many of them are accused at once, it is that."""

    name: str = option("name of the switch, rack or shelf, in alerts")
    nodes: tuple[str, ...] = option("the nodes that hang on it")

    def problems(self) -> Iterator[str]:
        """What the types cannot say."""
        yield from _hostlist_problems("nodes", self.nodes)


@dataclass(frozen=True, slots=True)
class IsolationConfig:
    """Taking nodes out of service, and jobs off them."""

    groups: tuple[GroupConfig, ...] = option("groups of nodes and their modes; a node in none is observed", default=())
    shared: tuple[SharedConfig, ...] = option("switches, racks and shelves", default=())
    opt_out: tuple[str, ...] = option("nodes that are never touched", default=())
    blast_share: float = option("of all nodes, so many at most are out by our hand or were taken out within the last 10 min", default=0.1)
    blast_nodes: int = option("so many may be out in any case, however small the cluster is", default=1)
    checkpoint_grace_s: float = option("a job that goes on is given so long to save where it is before it is requeued", default=300.0)
    restarts_most: int = option("a job is requeued so often in 24 h; then a person is called", default=5)
    strikes_most: int = option("a node that was taken out so often in 30 days does not come back by itself", default=3)
    approval_s: float = option("a prepared action waits so long for a person", default=3600.0)
    scheduler: str = option("who places jobs on nodes: dry-run (nobody; what would be asked is logged), kubernetes or slurm", default="dry-run")
    kubeconfig: str = option("file that says where the API server of kubernetes is, and who we are to it; empty: the service account of our own pod", default="")
    checkpoints: str = option(
        "folder where a job puts its checkpoints, {job} stands for its id; there is seen how far it is. Without it nobody looks", default=""
    )

    def problems(self) -> Iterator[str]:
        """What the types cannot say."""
        yield from _twice("groups.name", (group.name for group in self.groups))
        yield from _twice("groups.nodes", (node for group in self.groups for node in expand(group.nodes)))
        yield from _twice("shared.name", (shared.name for shared in self.shared))
        yield from _hostlist_problems("opt_out", self.opt_out)
        if self.scheduler not in KINDS:
            yield f"scheduler: is {self.scheduler!r}, should be {', '.join(KINDS[:-1])} or {KINDS[-1]}"
        if self.kubeconfig and not self.kubeconfig.startswith("/"):
            yield f"kubeconfig: is {self.kubeconfig!r}, should be an absolute path"
        if self.checkpoints and not (self.checkpoints.startswith("/") and JOB in self.checkpoints):
            yield f"checkpoints: is {self.checkpoints!r}, should be an absolute path with {JOB} in it"
        if not 0 <= self.blast_share <= 0.5:
            yield f"blast_share: is {self.blast_share:g}, should be 0 to 0.5"
        for key, value, least, most in (
            ("blast_nodes", self.blast_nodes, 0, 1000), ("checkpoint_grace_s", self.checkpoint_grace_s, 0, 7200),
            ("restarts_most", self.restarts_most, 0, 100), ("strikes_most", self.strikes_most, 1, 20),
            ("approval_s", self.approval_s, 60, 604_800),
        ):
            if not least <= value <= most:
                yield f"{key}: is {value:g}, should be {least} to {most:,}"


def _hostlist_problems(key: str, patterns: tuple[str, ...]) -> Iterator[str]:
    try:
        expand(patterns)
    except BadHostlist as why:
        yield f"{key}: {why}"


def _twice(key: str, names: Iterator[str]) -> Iterator[str]:
    for name, count in Counter(names).items():
        if count > 1:
            yield f"{key}: {name!r} occurs {count} times, should be once"
