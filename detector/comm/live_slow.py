"""Who makes a running job slow, from what NCCL Inspector tells of it: the analysis of whole logs (`slow.py`) on the newest part, again and again.

A short part shows soon what has just become slow; a long one what is slow in operations that come seldom, or by little.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from gpuwarden.core.nccl.process import Process
from gpuwarden.detector.comm import slow
from gpuwarden.detector.comm.again import Again
from gpuwarden.detector.comm.delays import SLOW
from gpuwarden.detector.comm.table import WINDOW_US, Table
from gpuwarden.detector.comm.verdict import UNKNOWN, Finding, listed
from gpuwarden.detector.findings import Claim, Key
from gpuwarden.detector.rules.rule import WARNING
from gpuwarden.proto.comm_pb2 import CommTimes
from gpuwarden.proto.finding_pb2 import Evidence, Subject, SubjectKind

EVERY_S: Final = 10.0
STALE_S: Final = 120.0
SHORT_US: Final = 60_000_000
RANK, HOST, NETWORK, JOB = "rank_slow", "host_slow", "network_slow", "job_slow"
DETECTOR: Final = "comm/slow"
DO: Final = {
    RANK: "Look at clocks and temperature of its GPU, its host's load and its data loader; `gpuwarden explain cap` where our own limit may be the reason.",
    HOST: "Look at the node: load, memory, clocks of all cards, cooling; `gpuwarden explain cap` where our own limit may be the reason.",
    NETWORK: "Look at its ports' findings (`nic_errors`, `nic_retransmits`, `nic_rate_degraded`), then at cables and switch ports.",
    JOB: "Compare clocks and temperature of these nodes; NCCL 2.30.3 and later tell of messages, with which one can be told from another.",
}


@dataclass(slots=True)
class LiveSlow:
    """Of one job. Mutable."""

    table: Table = field(default_factory=Table)
    claims: dict[Key, Claim] = field(default_factory=dict)
    _again: Again[Key] = field(default_factory=Again)
    _fresh: bool = False
    _due_s: float = 0.0
    _heard_s: float = 0.0

    def take(self, now_s: float, process: Process, times: tuple[CommTimes, ...], most: int) -> None:
        """`most` operations are kept."""
        self.table.take(now_s, process, times, most)
        self._fresh, self._heard_s = True, now_s

    def judged(self, now_s: float, job: str) -> bool:
        """Whether `claims` are new. Where nothing comes any more there are none."""
        if self.claims and now_s - self._heard_s > STALE_S:
            self.claims, self._again = {}, Again()
            return True
        if not self._fresh or now_s < self._due_s:
            return False
        self._due_s, self._fresh = now_s + EVERY_S, False
        named = dict[Key, Claim]()
        for window_us in (SHORT_US, WINDOW_US):
            newest = self.table.newest(window_us)
            if len(set(newest.ranks.values())) == len(newest.ranks):
                for finding in slow.verdict_on(newest).findings:
                    claim = claim_of(job, finding, newest.ranks)
                    named[claim.key] = claim
        firing = self._again.turn(named)
        self.claims = {key: named.get(key) or self.claims[key] for key in firing}
        return True


def claim_of(job: str, finding: Finding, ranks: Mapping[Process, int]) -> Claim:
    hosts = sorted({process.host for process, rank in ranks.items() if rank in finding.ranks})
    kind, subject = _of(job, finding, hosts)
    said = f"{finding.syndrome}, {finding.kind}, job {job}: {'. '.join(finding.evidence)}"
    evidence = (Evidence(name="confidence", value=finding.confidence), Evidence(name="ranks that it may be", value=len(finding.ranks), expected=1))
    return Claim(kind, subject, WARNING, finding.confidence, said[:1000], DO[kind], DETECTOR, evidence)


def _of(job: str, finding: Finding, hosts: list[str]) -> tuple[str, Subject]:
    """Of the smallest part that is surely meant: a rank, a host, or the job."""
    if len(hosts) != 1 or finding.kind == UNKNOWN:
        kind = NETWORK if finding.syndrome == SLOW else JOB
        return kind, Subject(kind=SubjectKind.SUBJECT_KIND_JOB, node=hosts[0], id=f"{job}/{listed(finding.ranks)}")
    if finding.syndrome == SLOW:
        return NETWORK, Subject(kind=SubjectKind.SUBJECT_KIND_NODE, node=hosts[0], id=job)
    if len(finding.ranks) > 1:
        return HOST, Subject(kind=SubjectKind.SUBJECT_KIND_NODE, node=hosts[0], id=job)
    return RANK, Subject(kind=SubjectKind.SUBJECT_KIND_RANK, node=hosts[0], id=f"{job}/{finding.ranks[0]}")
