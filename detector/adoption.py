"""Findings that another detector left firing: fired on, under their id, or resolved, but never left behind."""

from collections.abc import Collection, Iterator, Sequence
from typing import Final

from gpuwarden.detector.comm.live_slow import JOB as JOB_SLOW
from gpuwarden.detector.events import PublishFinding
from gpuwarden.detector.findings import Findings, Key
from gpuwarden.proto.finding_pb2 import Finding, SubjectKind

COMM: Final = "comm/"  # how the names of those begin that judge jobs
PROVE_S: Final = 120.0  # what is still so has fired again by then; models need minutes, and theirs are hints only

Owner = tuple[str, str]  # a node or a job, and its name: whoever reads what it says sees to its findings


def node_owner(name: str) -> Owner:
    return "node", name


def job_owner(name: str) -> Owner:
    return "job", name


def _owner(finding: Finding) -> Owner:
    """What is said of a job or its ranks, and of what makes it slow, is said by who hears the job: its name is the subject's id, with ranks behind it where some are meant."""
    subject = finding.subject
    if not finding.detector.startswith(COMM):
        return node_owner(subject.node)
    with_ranks = subject.kind == SubjectKind.SUBJECT_KIND_RANK or finding.kind == JOB_SLOW
    return job_owner(subject.id.rpartition("/")[0] if with_ranks else subject.id)


class Adopted:
    """Those that have neither fired again nor ended yet. Only of what this detector hears: others have theirs."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._of: dict[Owner, dict[Key, Finding]] = {}
        self._heard_s: dict[Owner, float] = {}

    def renew(self, payloads: Sequence[bytes], heard: Collection[Owner]) -> None:
        """All that is firing now; of what is heard already it is known."""
        waits = {owner: of for owner, of in self._of.items() if owner in self._heard_s}
        self._of = waits
        for payload in payloads:
            finding = Finding.FromString(payload)
            owner = _owner(finding)
            if owner not in heard:
                key = finding.subject.node, finding.subject.id, finding.kind
                self._of.setdefault(owner, {})[key] = finding

    def take_up(self, now_s: float, owner: Owner) -> tuple[Finding, ...]:
        """It is heard for the first time: its findings are ours now."""
        mine = self._of.get(owner, {})
        if mine:
            self._heard_s[owner] = now_s
        for finding in mine.values():
            self._findings.adopt(finding)
        return tuple(mine.values())

    def let_go(self, owner: Owner) -> None:
        """It is another detector's."""
        self._of.pop(owner, None)
        self._heard_s.pop(owner, None)

    def proven(self, now_s: float, unix_ns: int) -> Iterator[PublishFinding]:
        """Ends those that had time enough to show themselves, and did not."""
        for owner in [owner for owner, heard_s in self._heard_s.items() if now_s - heard_s >= PROVE_S]:
            del self._heard_s[owner]
            for key in self._of.pop(owner):
                if self._findings.is_adopted(key):
                    yield from self._findings.resolve(key, unix_ns)
