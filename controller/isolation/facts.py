"""What is known: the records, the newest truth of the scheduler, and what was said of nodes and jobs. Rails read it; the machine writes it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from gpuwarden.controller.isolation.config import IsolationConfig
from gpuwarden.controller.isolation.lifecycle import OUT, State
from gpuwarden.controller.isolation.probe import OfferedProbe
from gpuwarden.controller.isolation.records import (
    NEVER_S,
    ActionClass,
    Answer,
    Case,
    Chosen,
    Effect,
    JobPast,
    Mode,
    NodePast,
    Numbers,
    Question,
    Record,
    Restart,
)
from gpuwarden.controller.isolation.signals import Signal
from gpuwarden.controller.power.hostlist import expand
from gpuwarden.controller.schedulers.scheduler import JobTruth, NodeTruth, Phase, Truth


@dataclass(slots=True)
class Capped:
    """Since when it is known whether our cap holds a node back; since when it does, and until when it did."""

    known_s: float
    since_s: float | None = None
    until_s: float | None = None


@dataclass(slots=True)
class Facts:
    """By name or key. `lost` is why the scheduler is not known; `truth` is then its last."""

    config: IsolationConfig
    now_s: float = 0.0
    truth: Truth | None = None
    truth_asked_s: float = 0.0
    lost: str = "it has not answered yet"
    cases: dict[str, Case] = field(default_factory=dict)
    pasts: dict[str, NodePast] = field(default_factory=dict)
    jobs: dict[str, JobPast] = field(default_factory=dict)
    effects: dict[str, Effect] = field(default_factory=dict)
    questions: dict[str, Question] = field(default_factory=dict)
    chosen: dict[tuple[str, ActionClass], Mode] = field(default_factory=dict)
    numbers: Numbers = field(default_factory=Numbers)
    signals: dict[str, dict[str, Signal]] = field(default_factory=dict)  # by node and id, those that fire
    tenants: dict[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    caps: dict[str, Capped] = field(default_factory=dict)
    probes: dict[str, tuple[OfferedProbe, ...]] = field(default_factory=dict)  # what agents offer that are in session
    groups: dict[str, str] = field(init=False)
    wanted: dict[str, str] = field(init=False)
    opted_out: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        self.groups = {node: group.name for group in self.config.groups for node in expand(group.nodes)}
        self.wanted = {node: group.probe for group in self.config.groups for node in expand(group.nodes)}
        self.opted_out = frozenset(expand(self.config.opt_out))

    def put(self, record: Record) -> None:
        match record:
            case Case():
                self.cases[record.node] = record
            case NodePast():
                self.pasts[record.node] = record
            case JobPast():
                self.jobs[record.job] = record
            case Effect():
                self.effects[record.key] = record
            case Question():
                self.questions[record.id] = record
            case Chosen():
                self.chosen[record.group, record.action_class] = record.mode
            case Numbers():
                self.numbers = record

    def mode(self, node: str, action_class: ActionClass) -> Mode:
        """As an operator last set it, else as the file says; of a node in no group: observe."""
        return self.mode_of(self.groups.get(node, ""), action_class)

    def mode_of(self, name: str, action_class: ActionClass) -> Mode:
        """Of a group."""
        if (chosen := self.chosen.get((name, action_class))) is not None:
            return chosen
        return next((group.mode(action_class) for group in self.config.groups if group.name == name), Mode.OBSERVE)

    def offered(self, node: str) -> OfferedProbe | None:
        """The test that its group wants, if its agent offers that now."""
        return next((one for one in self.probes.get(node, ()) if one.name == self.wanted.get(node)), None)

    def past(self, node: str) -> NodePast:
        return self.pasts.get(node, NodePast(node))

    def node(self, name: str) -> NodeTruth | None:
        return self.truth.nodes.get(name) if self.truth is not None else None

    def job(self, name: str) -> JobTruth | None:
        return self.truth.jobs.get(name) if self.truth is not None else None

    def jobs_on(self, node: str) -> tuple[str, ...]:
        """Those that have anything there, what completes included."""
        seen = self.node(node)
        return seen.jobs if seen is not None else ()

    def running_on(self, node: str) -> Iterator[JobTruth]:
        for name in self.jobs_on(node):
            if (job := self.job(name)) is not None and job.phase is Phase.RUNNING:
                yield job

    def restarts(self, job: str, *, shadow: bool) -> tuple[Restart, ...]:
        """By us, oldest first; with `shadow` also those of which only "would have" was said."""
        past = self.jobs.get(job)
        if past is None:
            return ()
        return tuple(sorted((*past.by_us, *(past.would_have if shadow else ())), key=lambda one: one.at_s))

    def out(self, *, shadow: bool) -> set[str]:
        """Nodes out by our hand; with `shadow` also those of which only "would have" was said."""
        return {case.node for case in self.cases.values() if case.state in OUT and (shadow or not case.shadow)}

    def state(self, node: str) -> State:
        return self.cases[node].state if node in self.cases else State.HEALTHY

    def shown(self, node: str) -> str:
        """As people see it: a silent node is neither healthy nor faulty."""
        silent = any(signal.kind == "node_stale" for signal in self.signals.get(node, {}).values())
        return "stale" if silent else self.state(node).value

    def question_of(self, key: str, about: str) -> Question | None:
        """The newest about this act and this evidence."""
        same = (one for one in self.questions.values() if one.key == key and one.about == about)
        return max(same, key=lambda one: one.asked_s, default=None)

    def latches(self, *, shadow: bool) -> tuple[Question, ...]:
        """What has stopped the automation, or that of "would have" lines."""
        return tuple(one for one in self.questions.values() if one.latch and one.answer is Answer.OPEN and one.shadow == shadow)

    def reset_s(self, latch: str, *, shadow: bool) -> float:
        """When a person last let the automation go on after this rail had stopped it."""
        resets = (one.answered_s for one in self.questions.values() if one.latch == latch and one.answer is Answer.APPROVED and one.shadow == shadow)
        return max(resets, default=NEVER_S)

    def was_capped(self, node: str, since_s: float) -> bool | None:
        """Now, or when something began to be said of it; None: that is not known, since the controller was not there."""
        cap = self.caps.get(node)
        if cap is None or since_s < cap.known_s:
            return None
        return cap.since_s is not None and (cap.until_s is None or cap.since_s <= since_s <= cap.until_s)
