"""What is wished for, and what a rail may say to it."""

from dataclasses import dataclass
from enum import Enum

from gpuwarden.controller.isolation.evidence import Verdict
from gpuwarden.controller.isolation.lifecycle import Cause, State
from gpuwarden.controller.isolation.records import Case, WishKind


@dataclass(frozen=True, slots=True)
class Wish:
    """One act on one node or job, because of one case. `shadow`: only "would have" will be said. `by`: the person who asks for it, empty where it is ours.
    `probe`: of a test, its name."""

    kind: WishKind
    case: Case
    verdict: Verdict
    shadow: bool
    job: str = ""
    restarts: int = 0
    by: str = ""
    probe: str = ""

    @property
    def node(self) -> str:
        return self.case.node

    @property
    def key(self) -> str:
        """The same whenever the same is wished for: what has been done under it is not done again."""
        match self.kind:
            case WishKind.REQUEUE | WishKind.CHECKPOINT:
                return f"{self.kind.value}/{self.job}/{self.restarts}"
            case WishKind.EXCLUDE:
                return f"{self.kind.value}/{self.case.id}/{self.job}/{self.restarts}"
            case WishKind.PROBE:
                return test_key(self.case)
            case WishKind.DRAIN | WishKind.RESUME:
                return f"{self.kind.value}/{self.case.id}"

    @property
    def sentence(self) -> str:
        """What, and why: the ledger's reason."""
        return f"{self._what}: {self._why}"

    @property
    def subject(self) -> str:
        return f"job {self.job}" if self.job else self.node

    @property
    def _what(self) -> str:
        at = f"job {self.job} off {self.node}"
        match self.kind:
            case WishKind.DRAIN:
                return f"drain {self.node} ({self.case.id})"
            case WishKind.RESUME:
                return f"give {self.node} back ({self.case.id})"
            case WishKind.PROBE:
                return f"test {self.node} with {self.probe} ({self.case.id})"
            case WishKind.CHECKPOINT:
                return f"ask job {self.job} to checkpoint ({self.case.id})"
            case WishKind.REQUEUE:
                return f"requeue {at} ({self.case.id}), seen with {self.restarts} restarts"
            case WishKind.EXCLUDE:
                return f"keep {at} ({self.case.id}) when it starts again"

    @property
    def _why(self) -> str:
        if self.kind is WishKind.PROBE and self.case.state is State.TESTING:
            return "before it comes back"
        if self.kind is WishKind.RESUME:
            return f"{self.by} says so" if self.by else "the evidence is over" + (" and it passed a test" if self.case.passed else ", not tested")
        return self.verdict.sentence


def test_key(case: Case) -> str:
    """Of the next test of this quarantine, or of the one that runs."""
    return f"{WishKind.PROBE.value}/{case.id}/{case.tests}"


class Weight(Enum):
    """Of an objection."""

    WAIT = "wait"  # not now
    ASK = "ask"  # a person may
    NEVER = "never"  # not for this reason
    LATCH = "latch"  # and nothing else either, until a person has looked


@dataclass(frozen=True, slots=True)
class Objection:
    """What a rail says against a wish. `quiet`: nobody has to hear it. `cause`: it moves the node."""

    weight: Weight
    why: str
    quiet: bool = False
    cause: Cause | None = None


@dataclass(frozen=True, slots=True)
class NoEvidence:
    """Why a finding does not count. `tell`: a person should hear of it."""

    why: str
    tell: bool = False


def wait(why: str, *, quiet: bool = False) -> Objection:
    return Objection(Weight.WAIT, why, quiet)


def ask(why: str) -> Objection:
    return Objection(Weight.ASK, why)


def never(why: str, cause: Cause | None = None) -> Objection:
    return Objection(Weight.NEVER, why, cause=cause)


def latch(why: str) -> Objection:
    return Objection(Weight.LATCH, why)
