"""What the machine remembers, and what the ledger keeps of it: one frozen record for each node, job, act and question. Times are unix seconds."""

from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias

from gpuwarden.controller.isolation.lifecycle import State
from gpuwarden.controller.isolation.signals import Signal

NEVER_S: Final = float("-inf")


class Mode(Enum):
    """What may be done without a person."""

    OBSERVE = "observe"
    NOTIFY = "notify"
    APPROVE = "approve"
    AUTO = "auto"


class ActionClass(Enum):
    """What a mode is set for."""

    ISOLATION = "isolation"
    RESTART = "restart"


class WishKind(Enum):
    """What may be wished for."""

    DRAIN = "drain"
    RESUME = "resume"
    PROBE = "probe"
    CHECKPOINT = "checkpoint"
    REQUEUE = "requeue"
    EXCLUDE = "exclude"

    @property
    def action_class(self) -> ActionClass:
        isolating = self in (WishKind.DRAIN, WishKind.RESUME, WishKind.PROBE)
        return ActionClass.ISOLATION if isolating else ActionClass.RESTART


@dataclass(frozen=True, slots=True)
class Case:
    """A node that is not simply healthy. `id` is its quarantine's, and never used again; empty for a node that others hold."""

    id: str
    node: str
    state: State
    entered_s: float
    cause: str
    opened_s: float = NEVER_S
    signals: tuple[Signal, ...] = ()
    quiet_since_s: float | None = None  # since when nothing accuses it
    ordered_by: str = ""
    released_by: str = ""
    failed_test: str = ""
    tested_s: float = NEVER_S
    tests: int = 0
    passed: bool | None = None  # the newest test; None: none since it was drained, or it could not be run
    shadow: bool = False  # what was done to it is "would have"
    jobs: tuple[str, ...] = ()  # that were on it as it was taken out
    reason: str = ""  # by which the scheduler holds it for us


@dataclass(frozen=True, slots=True)
class NodePast:
    """What outlives a case. `isolated_s`: when it was taken out, newest last. `overruled`: findings that a person has said no to."""

    node: str
    isolated_s: tuple[float, ...] = ()
    would_have_s: tuple[float, ...] = ()
    failed_tests_s: tuple[float, ...] = ()
    overruled: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Restart:
    """Of a job by us, that had been started anew `restarts` times then. `step`: how far it had come, if that is known. `accused` are the nodes, if it
    takes the job's behaviour to be sure of them."""

    at_s: float
    restarts: int
    accused: tuple[str, ...]
    step: int | None


class Activity(Enum):
    """Of a job, as it tells."""

    UNKNOWN = "unknown"
    STARTING = "starting"
    TRAINING = "training"
    CHECKPOINTING = "checkpointing"
    EVALUATING = "evaluating"
    FINALIZING = "finalizing"


@dataclass(frozen=True, slots=True)
class JobPast:
    """`owner`: who else starts it anew, empty for nobody; `gave_up`: and no longer does. `checkpointed_s`: its newest complete checkpoint."""

    job: str
    restarts: int
    running_since_s: float
    activity: Activity = Activity.UNKNOWN
    activity_since_s: float = NEVER_S
    step: int | None = None
    checkpointed_s: float = NEVER_S
    owner: str = ""
    gave_up: bool = False
    by_us: tuple[Restart, ...] = ()
    would_have: tuple[Restart, ...] = ()


class EffectState(Enum):
    """Of an act."""

    ORDERED = "ordered"
    DONE = "done"
    REFUSED = "refused"
    LATER = "later"  # it was put off, and may be asked again
    UNKNOWN = "unknown"  # it was ordered, and nobody can tell what came of it


@dataclass(frozen=True, slots=True)
class Effect:
    """An act, by a key that is the same whenever it is wished for. `shadow`: only "would have" was said."""

    key: str
    kind: WishKind
    case: str
    node: str
    job: str
    restarts: int
    state: EffectState
    at_s: float
    tries: int = 1
    shadow: bool = False
    said: str = ""


class Answer(Enum):
    """To a question."""

    OPEN = "open"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Question:
    """A prepared act that waits for a person, or an automation that has stopped (`latch`: which rail stopped it; `shadow`: it was not to act anyway).

    `about` is the evidence it rests on.
    """

    id: str
    key: str
    case: str
    sentence: str
    about: str
    asked_s: float
    expires_s: float
    answer: Answer = Answer.OPEN
    answered_s: float = NEVER_S
    latch: str = ""
    shadow: bool = False


@dataclass(frozen=True, slots=True)
class Chosen:
    """A mode that an operator set; it goes before the file's."""

    group: str
    action_class: ActionClass
    mode: Mode


@dataclass(frozen=True, slots=True)
class Numbers:
    """The newest of those that are never used again."""

    case: int = 0
    question: int = 0


Record: TypeAlias = Case | NodePast | JobPast | Effect | Question | Chosen | Numbers


def key_of(record: Record) -> str:
    """Under which the ledger keeps it; a newer record with the same key takes its place."""
    match record:
        case Case():
            return f"case/{record.node}"
        case NodePast():
            return f"node/{record.node}"
        case JobPast():
            return f"job/{record.job}"
        case Effect():
            return f"effect/{record.key}"
        case Question():
            return f"question/{record.id}"
        case Chosen():
            return f"mode/{record.group}/{record.action_class.value}"
        case Numbers():
            return "numbers"
