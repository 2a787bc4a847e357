"""What a scheduler of jobs is asked, and what it answers: the same of Slurm, Kubernetes, torchrun and a dry run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol


class Unreachable(Exception):
    """No answer in time, or one that cannot be read: nothing is known of what the scheduler holds, or whether it did what was asked."""


class Refused(Exception):
    """It answered, and did not do it: which field, and why."""


class NotNow(Exception):
    """It answered, and somebody else's say stands against it for now: why. What was begun, if anything, goes on when it is asked again."""


class Availability(Enum):
    """Of a node for new work."""

    AVAILABLE = "available"
    DRAINING = "draining"  # it takes no new work, and something runs or completes there
    DRAINED = "drained"  # it takes none, and nothing is left of any job, no step that completes either
    DOWN = "down"  # the scheduler itself does not reach it


class Phase(Enum):
    """Of a job."""

    PENDING = "pending"
    HELD = "held"  # waits, and is not started before somebody releases it
    RUNNING = "running"
    SUSPENDED = "suspended"
    COMPLETING = "completing"
    ENDED = "ended"


class Kind(Enum):
    """Of a job: what may be done to it without asking follows from it."""

    BATCH = "batch"
    INTERACTIVE = "interactive"  # somebody sits at it
    ARRAY = "array"  # one of many that share an id
    HETEROGENEOUS = "heterogeneous"  # a part of one that is started as a whole
    BARE = "bare"  # nothing that we know of starts it anew
    STATEFUL = "stateful"  # it has a name and a state of its own
    LOCAL = "local"  # it keeps data on the node, which would be lost


@dataclass(frozen=True, slots=True)
class NodeTruth:
    """`reason` is why it takes no work, as whoever said so wrote it; empty where it takes work. `jobs` have anything there."""

    node: str
    availability: Availability
    reason: str = ""
    jobs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class JobTruth:
    """`nodes` are where it is now; `restarts`, how often it was started anew; `nodes_min`, what it needs.

    `excluded`: where it will not be started. `required`: what it asks for by name, so that without one of these it never starts.
    """

    job: str
    phase: Phase
    kind: Kind
    nodes: tuple[str, ...]
    restarts: int
    nodes_min: int
    requeueable: bool
    excluded: tuple[str, ...] = ()
    required: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Truth:
    """All that a scheduler holds, at one time, by name and by id. Jobs that ended long ago are not among them."""

    nodes: Mapping[str, NodeTruth]
    jobs: Mapping[str, JobTruth]


class Scheduler(Protocol):
    """Every call ends within a deadline of its own, and raises Unreachable, Refused or NotNow."""

    def truth(self) -> Truth: ...

    def drain(self, node: str, reason: str) -> None:
        """It takes no new work from now on, and what runs there goes on. Again with the same reason changes nothing. Refused where somebody else drained it."""
        ...

    def resume(self, node: str, reason: str) -> None:
        """It takes work again. Refused where it is not drained for exactly this reason: then somebody else has spoken since."""
        ...

    def requeue(self, job: str, restarts_seen: int) -> None:
        """It is stopped, and waits to be started anew. Refused where it was started anew since, so that twice is once."""
        ...

    def exclude(self, job: str, nodes: Sequence[str]) -> None:
        """It is not started on these, added to those that it was not to be started on before. Refused where it does not wait, or asks for one of them by name."""
        ...
