"""What people are told: findings as the detector fires and resolves them, and the conditions of a power domain."""

import math
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from gpuwarden.controller.events import Action, Beat, RememberMaintenance, ToldOfIsolation, WriteLedger
from gpuwarden.controller.finding_opened import opened
from gpuwarden.controller.lines import Lines
from gpuwarden.controller.maintenance import Window, Windows
from gpuwarden.controller.meter_alerts import meter_conditions, meter_text
from gpuwarden.controller.power.allocator import NOBODY
from gpuwarden.controller.power.keeper import Decision, Keeper
from gpuwarden.controller.power.level import Flags
from gpuwarden.controller.racks import RackConfig, down, racks_of
from gpuwarden.controller.telling import Alert, Telling, TellTiming
from gpuwarden.core.machine import Level, Say
from gpuwarden.proto.finding_pb2 import Finding, FindingState, Severity, Subject
from gpuwarden.proto.lease_pb2 import Mode

FIRING_LIMIT = 4096
RESOLVED_SHOWN = 200
JUDGED_S = 0.95  # conditions are judged this far apart
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


@dataclass(frozen=True, slots=True)
class AlertSetup:
    """How people are told. `beat_s` None: nobody waits for a heartbeat."""

    timing: TellTiming = field(default_factory=TellTiming)
    racks: tuple[RackConfig, ...] = ()
    windows: tuple[Window, ...] = ()
    beat_s: float | None = None


class Alerts:
    """Findings by id, newest resolved ones, and conditions by key. Bounded. `keepers` have every node."""

    def __init__(self, setup: AlertSetup, keepers: Sequence[Keeper]) -> None:
        self.telling, self.windows = Telling(setup.timing), Windows(setup.windows)
        self._keepers, self._beat_s = keepers, setup.beat_s
        self._domain_of = {node.name: keeper.config.name for keeper in keepers for node in keeper.nodes}
        self._racks = racks_of(setup.racks, {node.name: node for keeper in keepers for node in keeper.nodes})
        self._rack_of = {node.name: rack.name for rack in self._racks for node in rack.nodes}
        self._racks_silent: set[str] = set()
        self._racks_down: set[str] = set()  # of those, what is told as such
        self._beaten_s = self._judged_s = -math.inf
        self.firing: dict[str, Finding] = {}
        self.resolved: deque[Finding] = deque(maxlen=RESOLVED_SHOWN)
        self._conditions: dict[str, Condition] = {}
        self._refused = 0

    def firing_by_node(self) -> Counter[str]:
        return Counter(finding.subject.node for finding in self.firing.values())

    def finding(self, payload: bytes, lines: Lines) -> list[Action]:
        """One record of the findings topic. A repeat changes nothing; a bad one is said and counted."""
        try:
            finding = opened(payload)
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
        return self._changed(finding, lines) if new else []

    def _resolves(self, finding: Finding, lines: Lines) -> list[Action]:
        if self.firing.pop(finding.id, None) is None:
            return []
        self.resolved.append(finding)
        return self._changed(finding, lines)

    def _changed(self, finding: Finding, lines: Lines) -> list[Action]:
        alert = _alert(finding, self._domain_of.get(finding.subject.node, ""))
        firing = finding.state == FindingState.FINDING_STATE_FIRING
        if firing:
            self.telling.fires(alert)
        else:
            self.telling.resolved(alert.group, alert.key)
        said = finding.summary if firing else f"resolved: {finding.summary}"
        evidence = [(one.name, one.value, one.unit) for one in finding.evidence]
        return [WriteLedger((lines.line("notify", alert.subject, f"{alert.severity}: {said}", evidence=evidence),))]

    def of_isolation(self, told: ToldOfIsolation, lines: Lines) -> list[Action]:
        """A question, or what needs a person: each is an alert of its own, since each has to be read."""
        where, subject = self._domain_of.get(told.node, ""), told.node or "isolation"
        alert = Alert(told.key, told.key, where, told.node, told.severity, told.title, told.text, subject, lines.unix_ns)
        if told.firing:
            self.telling.fires(alert)
        else:
            self.telling.resolved(alert.group, alert.key)
        said = f"{told.title}: {told.text}" if told.firing else f"{told.title} is over"
        return [WriteLedger((lines.line("notify", subject, f"{told.severity}: {said}"),))]

    def tick(self, now_s: float, lines: Lines) -> Iterator[Action]:
        """What is wrong with racks and domains, then who is told of what."""
        if now_s - self._judged_s >= JUDGED_S:
            self._judged_s = now_s
            yield from self._rack_conditions(now_s, lines)
            for keeper in self._keepers:
                yield from self._domain_conditions(now_s, keeper, lines)
        for window in self.windows.ended(lines.unix_ns):
            yield WriteLedger((lines.line("maintenance", window.id, f"over: {window.reason}"),))
            yield RememberMaintenance(window.id, None)
        for notice in self.telling.tick(now_s, lines.unix_ns, self._muted, self._held):
            if notice.level > 1 and notice.firing:
                yield WriteLedger((lines.line("escalate", notice.key, f"nobody has acknowledged {notice.title}"),))
            yield notice
        if self._beat_s is not None and now_s - self._beaten_s >= self._beat_s:
            self._beaten_s = now_s
            yield Beat(lines.unix_ns)

    def _muted(self, alert: Alert) -> bool:
        return self.windows.cover(alert.node, alert.domain) or self._rack_of.get(alert.node) in self._racks_down

    def _held(self, alert: Alert) -> bool:
        return self._rack_of.get(alert.node) in self._racks_silent

    def _in_maintenance(self, node: str) -> bool:
        return self.windows.cover(node, self._domain_of[node])

    def _explained(self, node: str) -> bool:
        """By maintenance, or by its rack that is down."""
        return self._in_maintenance(node) or self._rack_of.get(node) in self._racks_silent

    def _rack_conditions(self, now_s: float, lines: Lines) -> Iterator[Action]:
        first = self._keepers[0]
        assert first.started_s is not None, "a domain is decided before it is judged"
        for rack in self._racks:
            silent_count, count = rack.silent(now_s, first.timing, now_s - first.started_s, self._in_maintenance)
            is_down = down(silent_count, count)
            condition = self._conditions.setdefault(f"{rack.name}/rack-down", Condition())
            if condition.turned(now_s, is_down):
                text = f"{silent_count} of {count} nodes of {rack.name} are silent: look at what they share, its power and its switch"
                yield from self._condition(rack.name, "rack-down", "critical", text, condition.firing, lines)
            # What it explains is held back from the first moment, before the rack itself is told of.
            (self._racks_silent.add if is_down or condition.firing else self._racks_silent.discard)(rack.name)
            (self._racks_down.add if condition.firing else self._racks_down.discard)(rack.name)

    def _domain_conditions(self, now_s: float, keeper: Keeper, lines: Lines) -> Iterator[Action]:
        """What is wrong with a domain as such. Quiet while a fresh controller learns."""
        decision = keeper.decision
        assert decision is not None, "a domain is decided before it is judged"
        if decision.learning:
            return
        unexplained = decision.unaccounted.copy()
        for index in np.flatnonzero(unexplained):
            unexplained[index] = not self._explained(keeper.nodes[index].name)
        for kind, severity, true, text in _conditions(keeper, decision, unexplained):
            condition = self._conditions.setdefault(f"{keeper.config.name}/{kind}", Condition())
            if condition.turned(now_s, true):
                yield from self._condition(keeper.config.name, kind, severity, text, condition.firing, lines)
        for kind, meter, true in meter_conditions(now_s, keeper):
            condition = self._conditions.setdefault(f"{keeper.config.name}/{kind}/{meter.limit.name}", Condition())
            if condition.turned(now_s, true):
                yield from self._condition(keeper.config.name, kind, "warning", meter_text(kind, meter), condition.firing, lines, meter.limit.name)

    def _condition(
        self, where: str, kind: str, severity: str, text: str, firing: bool, lines: Lines, limit: str = ""
    ) -> Iterator[Action]:
        """`limit`: below the domain, if it is of one."""
        key, subject = (f"{where}/{kind}/{limit}", limit) if limit else (f"{where}/{kind}", where)
        alert = Alert(key, kind, where, "", severity, f"{subject}: {kind}", text, subject, lines.unix_ns)
        if firing:
            self.telling.fires(alert)
        else:
            self.telling.resolved(alert.group, alert.key)
        reason = text if firing else f"{alert.title} is over"
        yield WriteLedger((lines.line("notify", subject, f"{severity}: {reason}"),))


def _conditions(keeper: Keeper, decision: Decision, unexplained: Flags) -> Iterator[tuple[str, str, bool, str]]:
    """(kind, severity, whether it is so, sentence). All of them in every mode: what fired in one has to end in another."""
    tree, auto, capped = keeper.tree, keeper.mode == Mode.MODE_AUTO, _would_cap(keeper)
    fullest, load_ratio = keeper.loads.fullest()
    yield "would-cap", "warning", capped > 0, f"{keeper.loads.shown(fullest)}: in auto, {capped} nodes would be capped now"
    yield "over-budget", "critical", load_ratio > 1.0, keeper.loads.shown(fullest)
    braked = int(decision.braked_under.max())
    yield "braked", "critical", braked != NOBODY, f"{keeper.loads.shown(braked)} by what is measured: all nodes under it are at their floors"
    crowd = int(keeper.crowded_under(unexplained).max())
    yield (
        "unaccounted", "critical", auto and crowd != NOBODY,
        f"nobody vouches for {unexplained[tree.under(crowd)].sum()} nodes of {tree.limit_names[crowd]}: no limiter of theirs has confirmed a limit",
    )
    failing = decision.failing[-1] if decision.failing else fullest
    yield (
        "does-not-hold", "critical", auto and not decision.holds,
        f"{tree.limit_names[failing]} may draw {keeper.counted_w(failing) / 1e3:,.1f} kW, more than it carries; all we reach under it are at the floor",
    )


def _would_cap(keeper: Keeper) -> int:
    """Nodes, in notify."""
    if keeper.mode != Mode.MODE_NOTIFY:
        return 0
    return sum(node.granted_w < node.exposure.default_w for node in keeper.nodes)


def _alert(finding: Finding, domain: str) -> Alert:
    subject, severity = _subject(finding.subject), Severity.Name(finding.severity).removeprefix("SEVERITY_").lower()
    text = f"{finding.summary} {finding.suggested_action}".strip()
    return Alert(
        finding.id, finding.kind, domain, finding.subject.node, severity, f"{finding.kind} on {subject}", text, subject, finding.updated_unix_ns
    )


def _subject(subject: Subject) -> str:
    return f"{subject.node}/{subject.id}" if subject.id else subject.node
