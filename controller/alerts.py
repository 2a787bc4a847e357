"""What people are told: findings as the detector fires and resolves them, and the conditions of a power domain."""

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from gpuwarden.controller.events import Action, Notify, WriteLedger
from gpuwarden.controller.lines import Lines
from gpuwarden.controller.power.keeper import Decision, Keeper
from gpuwarden.core.machine import Level, Say
from gpuwarden.proto.finding_pb2 import Finding, FindingState, Severity, Subject
from gpuwarden.proto.lease_pb2 import Mode

FINDING_VERSION = 1
FIRING_LIMIT = 4096
RESOLVED_SHOWN = 200
FIRES_AFTER_S = 3.0
RESOLVES_AFTER_S = 30.0


@dataclass(slots=True)
class Condition:
    """One condition's hysteresis: it fires when true for FIRES_AFTER_S, and resolves when false for RESOLVES_AFTER_S."""

    firing: bool = False
    changed_s: float | None = None  # since when the condition is other than `firing`

    def turned(self, now_s: float, true: bool) -> bool:
        """Whether `firing` has just changed."""
        if true == self.firing:
            self.changed_s = None
            return False
        self.changed_s = now_s if self.changed_s is None else self.changed_s
        if now_s - self.changed_s < (RESOLVES_AFTER_S if self.firing else FIRES_AFTER_S):
            return False
        self.firing, self.changed_s = true, None
        return True


class Alerts:
    """Findings by id, newest resolved ones, and conditions by key. Bounded."""

    def __init__(self) -> None:
        self.firing: dict[str, Finding] = {}
        self.resolved: deque[Finding] = deque(maxlen=RESOLVED_SHOWN)
        self._conditions: dict[str, Condition] = {}
        self._refused = 0

    def firing_by_node(self) -> Counter[str]:
        return Counter(finding.subject.node for finding in self.firing.values())

    def finding(self, payload: bytes, lines: Lines) -> list[Action]:
        """One record of the findings topic. A repeat changes nothing; a bad one is said and counted."""
        try:
            finding = _opened(payload)
        except ValueError as why:
            self._refused += 1
            return [Say(f"finding refused, {self._refused} by now: {why}", Level.WARNING)]
        if finding.state == FindingState.FINDING_STATE_FIRING:
            return self._fires(finding, lines)
        return self._resolves(finding, lines)

    def _fires(self, finding: Finding, lines: Lines) -> list[Action]:
        new = finding.id not in self.firing
        if new and len(self.firing) >= FIRING_LIMIT:
            return [Say(f"finding {finding.id} is left out: {FIRING_LIMIT} are firing already", Level.ERROR)]
        self.firing[finding.id] = finding
        return _tell(finding, lines) if new else []

    def _resolves(self, finding: Finding, lines: Lines) -> list[Action]:
        if self.firing.pop(finding.id, None) is None:
            return []
        self.resolved.append(finding)
        return _tell(finding, lines)

    def conditions(self, now_s: float, keeper: Keeper, lines: Lines) -> Iterator[Action]:
        """What is wrong with a domain as such. Quiet while a fresh controller learns."""
        decision = keeper.decision
        assert decision is not None, "a domain is decided before it is judged"
        if decision.learning:
            return
        for kind, severity, true, text in _conditions(keeper, decision):
            condition = self._conditions.setdefault(f"{keeper.config.name}/{kind}", Condition())
            if condition.turned(now_s, true):
                yield from _tell_condition(keeper, kind, severity, text, condition.firing, lines)


def _conditions(keeper: Keeper, decision: Decision) -> Iterator[tuple[str, str, bool, str]]:
    """(kind, severity, whether it is so, sentence)."""
    name, budget_kw = keeper.config.name, keeper.budget_w / 1e3
    draw = f"{name} draws up to {decision.measured_w / 1e3:,.1f} kW, its budget is {budget_kw:,.1f} kW"
    if keeper.mode == Mode.MODE_NOTIFY:
        capped = sum(n.granted_w < n.exposure.default_w for n in keeper.nodes)
        yield "would-cap", "warning", capped > 0, f"{draw}: in auto, {capped} nodes would be capped now"
    yield "over-budget", "critical", decision.measured_w > keeper.budget_w, draw
    if keeper.mode == Mode.MODE_AUTO:
        yield (
            "unaccounted", "critical", decision.unaccounted > keeper.row.dead_count,
            f"nobody vouches for {decision.unaccounted} nodes of {name}: no limiter of theirs has confirmed a limit",
        )
        yield (
            "does-not-hold", "critical", not decision.holds,
            f"{name} may draw {decision.counted_w / 1e3:,.1f} kW, more than its breaker carries; all we reach are at the floor",
        )


def _tell_condition(
    keeper: Keeper, kind: str, severity: str, text: str, firing: bool, lines: Lines
) -> Iterator[Action]:
    title = f"{keeper.config.name}: {kind}"
    reason = text if firing else f"{title} is over"
    yield WriteLedger((lines.line("notify", keeper.config.name, f"{severity}: {reason}"),))
    yield Notify(f"{keeper.config.name}/{kind}", firing, severity, title, reason, keeper.config.name, lines.unix_ns)


def _tell(finding: Finding, lines: Lines) -> list[Action]:
    firing = finding.state == FindingState.FINDING_STATE_FIRING
    subject, severity = _subject(finding.subject), Severity.Name(finding.severity).removeprefix("SEVERITY_").lower()
    said = finding.summary if firing else f"resolved: {finding.summary}"
    text = f"{finding.summary} {finding.suggested_action}".strip()
    evidence = [(one.name, one.value, one.unit) for one in finding.evidence]
    line = lines.line("notify", subject, f"{severity}: {said}", evidence=evidence)
    return [
        WriteLedger((line,)),
        Notify(finding.id, firing, severity, f"{finding.kind} on {subject}", text, subject, finding.updated_unix_ns),
    ]


def _subject(subject: Subject) -> str:
    return f"{subject.node}/{subject.id}" if subject.id else subject.node


def _opened(payload: bytes) -> Finding:
    """A finding that may be trusted, or ValueError with the field and the reason."""
    try:
        finding = Finding.FromString(payload)
    except DecodeError:
        raise ValueError("finding: does not parse") from None
    if finding.version != FINDING_VERSION:
        raise ValueError(f"version: is {finding.version}, this controller knows {FINDING_VERSION}")
    if not finding.id or not finding.kind:
        raise ValueError("id, kind: must not be empty")
    if finding.state not in (FindingState.FINDING_STATE_FIRING, FindingState.FINDING_STATE_RESOLVED):
        raise ValueError(f"state: is {finding.state}, should be firing or resolved")
    return finding
