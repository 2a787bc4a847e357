"""What NCCL's RAS port says of a running job, again and again: whose process is dead or does not answer, and whom a job waits for that does not get on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from gpuwarden.core.nccl.process import Process
from gpuwarden.core.nccl.ras import Absent, Answer, Communicator, Member
from gpuwarden.detector.comm import ras_hang
from gpuwarden.detector.comm.live_job import LiveJob
from gpuwarden.detector.comm.verdict import DEAD, Finding
from gpuwarden.detector.findings import Claim, Key
from gpuwarden.detector.rules.rule import CRITICAL
from gpuwarden.proto.comm_pb2 import CommRas, CommRasCommunicator
from gpuwarden.proto.finding_pb2 import Evidence, Subject, SubjectKind

STALE_S: Final = 150.0  # an answer tells nothing of later than that
PATIENCE_S: Final = 120.0  # counts differ in a job at work, and stand still while it writes a checkpoint
DETECTOR: Final = "comm/ras_hang"
DO_DEAD: Final = "Look at the job's log, the kernel's log (out of memory, segmentation fault, XID) and the node."
DO_HANG: Final = "Look whether the process lives and runs (`ps`, `py-spy dump --pid`), then at its GPU and node."


@dataclass(slots=True)
class LiveRas:
    """Of one job. `since_s`: when `first` came, since which nothing was launched."""

    first: Answer | None = None
    newest: Answer | None = None
    since_s: float = 0.0
    heard_s: float = 0.0
    answers: int = 0
    _verdict: tuple[Finding, ...] = field(default=())

    def take(self, now_s: float, message: CommRas) -> None:
        answer = _answer(message)
        if self.first is None or _launched(self.first) != _launched(answer):
            self.first, self.since_s, self.answers = answer, now_s, 0
        self.newest, self.heard_s, self.answers = answer, now_s, self.answers + 1
        self._verdict = ras_hang.verdict_on([self.first, answer] if self.answers > 1 else [answer]).findings

    def claims(self, now_s: float, job: LiveJob, paused: bool) -> tuple[dict[Key, Claim], dict[Key, Claim]]:
        """Who is dead, and who holds the job up."""
        if self.newest is None or now_s - self.heard_s > STALE_S:
            return {}, {}
        stood_s = self.heard_s - self.since_s
        hangs = stood_s >= max(PATIENCE_S, job.patience.patience_s) and self.answers > 1 and not paused
        dead, hung = dict[Key, Claim](), dict[Key, Claim]()
        hosts = _hosts(self.newest)
        for finding in self._verdict:
            for rank in finding.ranks:
                node = job.ranks[rank].node if rank in job.ranks else hosts.get(rank, "")
                claim = _claim(job.name, finding, rank, node, stood_s)
                if finding.kind == DEAD:
                    dead[claim.key] = claim
                elif hangs:
                    hung[claim.key] = claim
        return dead, hung


def _claim(job: str, finding: Finding, rank: int, node: str, stood_s: float) -> Claim:
    dead = finding.kind == DEAD
    said = f"NCCL's RAS port, {finding.syndrome}, {finding.kind}: rank {rank} of job {job}: {'. '.join(finding.evidence)}"
    stood = f"; nothing was launched for {stood_s:.0f} s" if not dead else ""
    evidence = (Evidence(name="processes that tell so", value=finding.held_up), Evidence(name="launches have stood still for", value=stood_s, unit="s"))
    subject = Subject(kind=SubjectKind.SUBJECT_KIND_RANK, node=node, id=f"{job}/{rank}")
    kind = "rank_dead" if dead else "rank_hang"
    return Claim(kind, subject, CRITICAL, finding.confidence, (said + stood)[:1000], DO_DEAD if dead else DO_HANG, DETECTOR, evidence)


def _launched(answer: Answer) -> Mapping[str, object]:
    return {one.key: {member.rank: member.launched for member in one.members} for one in answer.communicators}


def _hosts(answer: Answer) -> Mapping[int, str]:
    """By rank of the largest communicator that tells of each process."""
    hosts = dict[int, str]()
    for one in sorted(answer.communicators, key=lambda one: one.size):
        hosts |= {rank: process.host for rank, process in zip(one.ranks, one.processes, strict=True)}
    return hosts


def _answer(message: CommRas) -> Answer:
    """Of a message that is checked."""
    processes = [Process(message.hosts[host], pid) for host, pid in zip(message.host, message.pid, strict=True)]
    return Answer(message.nccl_version, message.at, tuple(_communicator(one, processes) for one in message.communicators))


def _communicator(of: CommRasCommunicator, processes: list[Process]) -> Communicator:
    counts = [dict(zip([one.operation for one in of.launched], row, strict=True)) for row in zip(*(one.count for one in of.launched), strict=True)] or [{} for _ in of.rank]
    members = tuple(Member(*told) for told in zip(of.rank, [processes[place] for place in of.process], of.running, counts, strict=True))
    absent = tuple(Absent(*told) for told in zip(of.absent_rank, [processes[place] for place in of.absent_process], of.absent_dead, strict=True))
    return Communicator(of.key, of.size, members, absent)
