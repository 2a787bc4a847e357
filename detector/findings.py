"""Findings that are firing now, and the records that say so."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from gpuwarden.core.version import VERSION
from gpuwarden.detector.events import PublishFinding
from gpuwarden.proto.catalogue import Device
from gpuwarden.proto.finding_pb2 import Evidence, Finding, FindingState, Severity, Subject, SubjectKind, Trend

PAYLOAD_VERSION: Final = 1
ID_CHARS: Final = 16
MOST_CHARS: Final = 2000  # of a summary by several
MOST_EVIDENCE: Final = 12

_KINDS: Final = {
    Device.GPU: SubjectKind.SUBJECT_KIND_GPU,
    Device.NIC: SubjectKind.SUBJECT_KIND_NIC,
    Device.HOST: SubjectKind.SUBJECT_KIND_NODE,
}


def subject_of(device: Device, node: str, device_id: str) -> Subject:
    """A host's subject is its node."""
    return Subject(kind=_KINDS[device], node=node, id="" if device is Device.HOST else device_id)


@dataclass(frozen=True, slots=True)
class Claim:
    """What a rule or a model says of a subject: all of a finding but its id and its times."""

    kind: str
    subject: Subject
    severity: "Severity.ValueType"
    score: float
    summary: str
    action: str
    detector: str
    evidence: tuple[Evidence, ...] = ()
    trend: Trend | None = None

    @property
    def key(self) -> "Key":
        return self.subject.node, self.subject.id, self.kind


Key = tuple[str, str, str]


class Findings:
    """Those that are firing, by node, id and kind. There is one at most for each kind and subject."""

    def __init__(self) -> None:
        self._firing: dict[Key, Finding] = {}
        self._adopted: set[Key] = set()

    def __contains__(self, key: Key) -> bool:
        return key in self._firing

    def __len__(self) -> int:
        return len(self._firing)

    def fire(self, claim: Claim, unix_ns: int) -> PublishFinding:
        """New, or the same again with newer numbers."""
        self._adopted.discard(claim.key)
        known = self._firing.get(claim.key)
        since_ns = known.since_unix_ns if known else unix_ns
        finding = Finding(
            version=PAYLOAD_VERSION, id=_id(claim, since_ns), kind=claim.kind, subject=claim.subject,
            state=FindingState.FINDING_STATE_FIRING, severity=claim.severity, score=claim.score, evidence=claim.evidence,
            summary=claim.summary, suggested_action=claim.action, detector=claim.detector, detector_version=VERSION,
            since_unix_ns=since_ns, updated_unix_ns=max(since_ns, unix_ns), trend=claim.trend,
        )
        self._firing[claim.key] = finding
        return _record(finding)

    def confirm(self, claim: Claim, unix_ns: int) -> PublishFinding:
        """What fires already is told by somebody else too: with both words and both evidence."""
        known = self._firing[claim.key]
        summary = f"{known.summary}. And {claim.summary}"[:MOST_CHARS]
        evidence = (*known.evidence, *claim.evidence)[:MOST_EVIDENCE]
        both = Claim(claim.kind, known.subject, max(known.severity, claim.severity), max(known.score, claim.score), summary, known.suggested_action, known.detector, evidence)
        return self.fire(both, unix_ns)

    def adopt(self, finding: Finding) -> None:
        """Fired by the detector before this one: goes on under its id if it fires again."""
        key = finding.subject.node, finding.subject.id, finding.kind
        self._firing[key] = finding
        self._adopted.add(key)

    def is_adopted(self, key: Key) -> bool:
        """And has not fired again here."""
        return key in self._adopted

    def keep(self, key: Key) -> None:
        """Somebody sees to this one: it has not to fire again."""
        self._adopted.discard(key)

    def resolve(self, key: Key, unix_ns: int) -> Iterator[PublishFinding]:
        """Nothing if it does not fire."""
        self._adopted.discard(key)
        finding = self._firing.pop(key, None)
        if finding is not None:
            finding.state = FindingState.FINDING_STATE_RESOLVED
            finding.updated_unix_ns = max(finding.since_unix_ns, unix_ns)
            yield _record(finding)

    def resolve_all(self, keys: Iterable[Key], unix_ns: int) -> Iterator[PublishFinding]:
        for key in keys:
            yield from self.resolve(key, unix_ns)

    def let_go(self, keys: Iterable[Key]) -> None:
        """They go on, but not here: another detector sees to them."""
        for key in keys:
            self._adopted.discard(key)
            self._firing.pop(key, None)

    def of_node(self, node: str) -> tuple[Key, ...]:
        """In the order in which they began to fire."""
        return tuple(key for key in self._firing if key[0] == node)

    def of_kind(self, kind: str) -> tuple[Key, ...]:
        """In the order in which they began to fire."""
        return tuple(key for key in self._firing if key[2] == kind)


def _id(claim: Claim, since_ns: int) -> str:
    text = "\0".join((claim.kind, str(claim.subject.kind), claim.subject.node, claim.subject.id, str(since_ns)))
    return hashlib.sha256(text.encode()).hexdigest()[:ID_CHARS]


def _record(finding: Finding) -> PublishFinding:
    subject = finding.subject
    return PublishFinding(f"{subject.node}/{subject.id}", finding.SerializeToString(deterministic=True))
