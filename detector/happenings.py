"""Things that happened to a device, as its driver told: XIDs, a lost card, a driver that hangs. They fire at once."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from gpuwarden.detector.events import PublishFinding
from gpuwarden.detector.findings import Claim, Findings, Key, subject_of
from gpuwarden.detector.rules.rule import CRITICAL
from gpuwarden.detector.rules.xid import PREEMPTIVE_CLEANUP, xid
from gpuwarden.detector.view import COLUMN_OF
from gpuwarden.proto.catalogue import Device
from gpuwarden.proto.decode import Sample
from gpuwarden.proto.finding_pb2 import Evidence, Finding, Severity, Subject, SubjectKind
from gpuwarden.proto.telemetry_pb2 import DeviceEvent

QUIET_S: Final = 600.0
HUNG_QUIET_S: Final = 10.0
LONGEST_S: Final = 86_400.0  # a person has seen it by then, or the agent has missed that the card was reset
HUNG: Final = "driver_hung"
FOLLOWS_S: Final = 30.0
MOST_PER_NODE: Final = 64
# Kinds of event that a metric tells of as well; where it does, the rule on the metric speaks.
_METRIC_OF: Final = {"gpu_lost": "gpu_lost", "recovery_action": "gpu_recovery_action"}


@dataclass(frozen=True, slots=True)
class Ending:
    """How an event's finding ends: `by_reset` with the driver or the node, else after `quiet_s`, `when_read` with readings."""

    quiet_s: float
    by_reset: bool = False
    when_read: bool = False


@dataclass(slots=True)
class Held:
    """One that fires."""

    last_s: float
    count: int
    uptime_s: float
    ending: Ending


class Happenings:
    """Those that fire, by node. `Findings` knows what they said."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._held: dict[str, dict[Key, Held]] = {}
        self.left_out = 0  # events of nodes that have MOST_PER_NODE firing already

    def take(self, now_s: float, sample: Sample) -> Iterator[PublishFinding]:
        """A sample that is no repeat: what it ends and what it tells of."""
        held = self._held.get(sample.node)
        if held:
            yield from self._ends_by_sample(now_s, sample, held)
        for event in sample.events:
            yield from self._event(now_s, sample, event)

    def adopt(self, now_s: float, finding: Finding) -> None:
        """An XID or a hung driver of before this detector began: it ends as it would have."""
        key = finding.subject.node, finding.subject.id, finding.kind
        ending = _adopted_ending(finding.kind)
        if ending is not None:
            count = next((int(e.value) for e in finding.evidence if e.name == "times"), 1)
            self._held.setdefault(key[0], {})[key] = Held(now_s, count, float("nan"), ending)
            self._findings.keep(key)

    def tick(self, now_s: float, unix_ns: int) -> Iterator[PublishFinding]:
        """Those that have been quiet for long enough."""
        for held in self._held.values():
            over = [key for key, one in held.items() if not one.ending.when_read and now_s - one.last_s >= one.ending.quiet_s]
            yield from self._end(held, over, unix_ns)
        self._held = {node: held for node, held in self._held.items() if held}

    def forget(self, node: str) -> None:
        self._held.pop(node, None)

    def _end(self, held: dict[Key, Held], over: list[Key], unix_ns: int) -> Iterator[PublishFinding]:
        for key in over:
            del held[key]
        yield from self._findings.resolve_all(over, unix_ns)

    def _ends_by_sample(self, now_s: float, sample: Sample, held: dict[Key, Held]) -> Iterator[PublishFinding]:
        uptime_s, read = _uptime_s(sample), any(r.device is Device.GPU and r.ids for r in sample.readings)
        over = [
            key for key, one in held.items()
            if (one.ending.by_reset and uptime_s < one.uptime_s)
            or (one.ending.when_read and read and now_s - one.last_s >= one.ending.quiet_s)
        ]
        yield from self._end(held, over, sample.unix_ns)

    def _event(self, now_s: float, sample: Sample, event: DeviceEvent) -> Iterator[PublishFinding]:
        match event.kind:
            case "xid":
                yield from self._xid(now_s, sample, event)
            case "driver_hung":
                yield from self._hold(now_s, sample, _hung(sample, event), Ending(HUNG_QUIET_S, when_read=True))
            case "gpu_lost" | "recovery_action" if not _metric_tells(sample, event):
                yield from self._hold(now_s, sample, _told(sample, event), Ending(LONGEST_S, by_reset=True))
            case "driver_reloaded":
                yield from self._reloaded(sample, event.device_id)
            case _:
                return  # a newer agent's event, or one that a rule tells of

    def _xid(self, now_s: float, sample: Sample, event: DeviceEvent) -> Iterator[PublishFinding]:
        if event.code == PREEMPTIVE_CLEANUP and self._follows(now_s, sample.node, event.device_id):
            return
        claim = _xid_claim(sample, event, 1 + self._count(sample.node, _xid_kind(event), event.device_id))
        yield from self._hold(now_s, sample, claim, _xid_ending(event.code))

    def _count(self, node: str, kind: str, device_id: str) -> int:
        known = self._held.get(node, {}).get((node, device_id, kind))
        return known.count if known else 0

    def _follows(self, now_s: float, node: str, device_id: str) -> bool:
        return any(
            key[1] == device_id and key[2].startswith("xid_") and now_s - one.last_s <= FOLLOWS_S
            for key, one in self._held.get(node, {}).items()
        )

    def _hold(self, now_s: float, sample: Sample, claim: Claim, ending: Ending) -> Iterator[PublishFinding]:
        """Said again only when its count has doubled, so that a storm of one code is a few records."""
        held = self._held.setdefault(sample.node, {})
        known = held.get(claim.key)
        count = known.count + 1 if known else 1
        if known is None and len(held) >= MOST_PER_NODE:
            self.left_out += 1
            return
        held[claim.key] = Held(now_s, count, _uptime_s(sample), ending)
        if count & (count - 1) == 0:
            yield self._findings.fire(claim, sample.unix_ns)

    def _reloaded(self, sample: Sample, device_id: str) -> Iterator[PublishFinding]:
        """Of one card, or of all where the event names none."""
        held = self._held.get(sample.node, {})
        over = [key for key, one in held.items() if one.ending.by_reset and device_id in ("", sample.node, key[1])]
        yield from self._end(held, over, sample.unix_ns)


def _adopted_ending(kind: str) -> Ending | None:
    if kind == HUNG:
        return Ending(HUNG_QUIET_S, when_read=True)
    code = kind.removeprefix("xid_")
    if code == kind or not code.removeprefix("-").isdigit():
        return None
    return _xid_ending(int(code))


def _xid_ending(code: int) -> Ending:
    reset = xid(code).needs_reset
    return Ending(LONGEST_S if reset else QUIET_S, by_reset=reset)


def _uptime_s(sample: Sample) -> float:
    """NaN where it is not told: it is then never less than before."""
    host = [r for r in sample.readings if r.device is Device.HOST and len(r.ids)]
    return float(host[0].values[0, COLUMN_OF["host_uptime_seconds"]]) if host else float("nan")


def _metric_tells(sample: Sample, event: DeviceEvent) -> bool:
    column = COLUMN_OF[_METRIC_OF[event.kind]]
    return any(
        r.device is Device.GPU and event.device_id in r.ids and r.values[r.ids.index(event.device_id), column] > 0
        for r in sample.readings
    )


def _xid_kind(event: DeviceEvent) -> str:
    return f"xid_{event.code}"


def _subject(sample: Sample, device_id: str) -> Subject:
    if device_id in ("", sample.node):
        return Subject(kind=SubjectKind.SUBJECT_KIND_NODE, node=sample.node)
    return subject_of(Device.GPU, sample.node, device_id)


def _xid_claim(sample: Sample, event: DeviceEvent, count: int) -> Claim:
    row, evidence = xid(event.code), [Evidence(name="XID", value=event.code), Evidence(name="times", value=count)]
    jobs = sorted({p.job_id for p in sample.processes if p.gpu_id == event.device_id and p.job_id})
    summary = f"XID {event.code}, {row.meaning}" + (f", under job {', '.join(jobs)}" if jobs else "")
    return _claim(_xid_kind(event), sample, event, row.severity, summary, row.action, evidence)


def _hung(sample: Sample, event: DeviceEvent) -> Claim:
    action = "Drain the node and reboot it: a call that hangs in the driver cannot be ended otherwise."
    return _claim(HUNG, sample, event, CRITICAL, "the GPU driver does not answer", action, [])


def _told(sample: Sample, event: DeviceEvent) -> Claim:
    """The rule of the same name judges the metric; this is for an agent that cannot read the metric any more."""
    summary = f"the driver told of {event.kind.replace('_', ' ')}"
    evidence = [Evidence(name="code", value=event.code)]
    action = "Drain the node and reboot it; if this comes again, replace the card."
    return _claim(f"gpu_{event.kind.removeprefix('gpu_')}", sample, event, CRITICAL, summary, action, evidence)


def _claim(
    kind: str, sample: Sample, event: DeviceEvent, severity: "Severity.ValueType", summary: str, action: str, evidence: list[Evidence]
) -> Claim:
    said = f"{summary} ({event.message})" if event.message else summary
    subject = _subject(sample, event.device_id)
    return Claim(kind, subject, severity, 1.0, said[:1000], action, f"rules/{kind.partition('_')[0]}", tuple(evidence))
