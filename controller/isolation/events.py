"""What the isolating machine is told, and what it orders. `now_s` is unix time in seconds, which the caller lets never go back."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from gpuwarden.controller.isolation.probe import OfferedProbe
from gpuwarden.controller.isolation.records import ActionClass, Activity, Mode, Record
from gpuwarden.controller.isolation.signals import Signal
from gpuwarden.controller.schedulers.scheduler import Truth
from gpuwarden.core.machine import Say


@dataclass(frozen=True, slots=True)
class Started:
    """Once, first: what the ledger has kept."""

    records: tuple[Record, ...]


@dataclass(frozen=True, slots=True)
class SignalHeard:
    """A finding, firing or resolved, that has passed the door (`door.py`)."""

    signal: Signal


@dataclass(frozen=True, slots=True)
class TruthSeen:
    """All that the scheduler holds. `asked_s` is when it was asked: what was done after that may be missing."""

    truth: Truth
    asked_s: float


@dataclass(frozen=True, slots=True)
class SchedulerLost:
    """It does not answer, or not so that it can be read."""

    reason: str


class Outcome(Enum):
    """Of an act."""

    DONE = "done"
    REFUSED = "refused"
    LATER = "later"  # it may be asked again
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Performed:
    """What came of an act, by its key."""

    key: str
    outcome: Outcome
    said: str = ""


@dataclass(frozen=True, slots=True)
class Probed:
    """What came of a test, by the key of its Probe. `passed` None: it could not be run."""

    key: str
    node: str
    passed: bool | None
    said: str


@dataclass(frozen=True, slots=True)
class ProbesOffered:
    """All tests that a node's agent would run now: none while it is not in session. Said when a session begins and ends."""

    node: str
    probes: tuple[OfferedProbe, ...]


@dataclass(frozen=True, slots=True)
class JobTold:
    """How a job is getting on, from its own log or its checkpoints. `step` None: not known. `checkpointed_s`: its newest complete checkpoint."""

    job: str
    restarts: int
    activity: Activity
    step: int | None = None
    checkpointed_s: float | None = None


@dataclass(frozen=True, slots=True)
class OwnerSeen:
    """Somebody else starts this job anew when it fails, or `gave_up` doing so."""

    job: str
    owner: str
    gave_up: bool = False


@dataclass(frozen=True, slots=True)
class TenantsSeen:
    """Which jobs use which part of a node."""

    node: str
    tenants: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class CapsSeen:
    """Whether our own power cap holds this node back: said of every node at the start, and when it changes."""

    node: str
    capped: bool


@dataclass(frozen=True, slots=True)
class Approve:
    """An operator's yes to a question; answered by one Answered with the same token, as the four below are."""

    token: int
    actor: str
    id: str
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Reject:
    token: int
    actor: str
    id: str
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Cordon:
    token: int
    actor: str
    node: str
    reason: str
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Uncordon:
    token: int
    actor: str
    node: str
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class ChooseMode:
    token: int
    actor: str
    group: str
    action_class: ActionClass
    mode: Mode
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Tick:
    """Once a second or so: time has passed."""


Request: TypeAlias = Approve | Reject | Cordon | Uncordon | ChooseMode
Event: TypeAlias = (
    Started | SignalHeard | TruthSeen | SchedulerLost | Performed | Probed | ProbesOffered | JobTold | OwnerSeen | TenantsSeen | CapsSeen
    | Approve | Reject | Cordon | Uncordon | ChooseMode | Tick
)


@dataclass(frozen=True, slots=True)
class Line:
    """A ledger line, durable before the actions that follow it. `performed` False: it is what would have been done."""

    kind: str
    subject: str
    reason: str
    performed: bool = True
    actor: str = "controller"


@dataclass(frozen=True, slots=True)
class Keep:
    """Durable before the actions that follow it; a restart begins with it."""

    record: Record


@dataclass(frozen=True, slots=True)
class Forget:
    """A record that a restart need not know any more."""

    key: str


@dataclass(frozen=True, slots=True)
class Drain:
    """Scheduler.drain; answered by one Performed with the same key, as the five below are."""

    key: str
    node: str
    reason: str


@dataclass(frozen=True, slots=True)
class Resume:
    key: str
    node: str
    reason: str


@dataclass(frozen=True, slots=True)
class Requeue:
    """Scheduler.requeue. It is to go on from a checkpoint older than `checkpoint_before_s`, if that is given: a newer one may be wrong."""

    key: str
    job: str
    restarts_seen: int
    checkpoint_before_s: float | None


@dataclass(frozen=True, slots=True)
class Exclude:
    key: str
    job: str
    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AskCheckpoint:
    """The job is asked to save where it is. That it has done so comes as JobTold."""

    key: str
    job: str


@dataclass(frozen=True, slots=True)
class Probe:
    """A node's agent is asked for a test, by its name, and power for what it needs; answered by one Performed, and by one Probed once it is through."""

    key: str
    case: str
    node: str
    name: str
    needs_w: float
    deadline_s: float


@dataclass(frozen=True, slots=True)
class EndPower:
    """A test is over, whoever ordered it: what was set aside for it is free again."""

    key: str


@dataclass(frozen=True, slots=True)
class Tell:
    """Tell a person; the same key is one alert for its whole life."""

    key: str
    firing: bool
    severity: str
    title: str
    text: str
    node: str


@dataclass(frozen=True, slots=True)
class Answered:
    """To a request: a sentence of what was, or would be, done; or why not."""

    token: int
    ok: bool
    code: str  # of google.rpc, empty where ok
    reason: str
    sentence: str


Act: TypeAlias = Drain | Resume | Requeue | Exclude | AskCheckpoint | Probe
Action: TypeAlias = Line | Keep | Forget | Act | EndPower | Tell | Answered | Say
