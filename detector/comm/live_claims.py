"""What is said of a running job's ranks, for people: kind, subject, evidence in numbers and words, what to do."""

from collections.abc import Iterable
from typing import Final

from gpuwarden.detector.comm.live_dead import Death
from gpuwarden.detector.comm.live_hang import MORE_WORDS, Hang
from gpuwarden.detector.comm.live_job import LiveJob
from gpuwarden.detector.comm.verdict import DEVICE, OUTSIDE, WORDS, Finding, listed
from gpuwarden.detector.findings import Claim, Key
from gpuwarden.detector.rules.rule import CRITICAL, WARNING
from gpuwarden.proto.finding_pb2 import Evidence, Subject, SubjectKind

HANG, DEAD, SLOW, LEVEL = "rank_hang", "rank_dead", "rank_slow", "job_hang"
KINDS: Final = frozenset({HANG, DEAD, SLOW, LEVEL})
DETECTOR: Final = "comm/watch"
MOST_EVIDENCE: Final = 3  # sentences in a summary
DO: Final = {
    DEVICE: "Look at the rank's GPU: XIDs, `gpuwarden status`, `dcgmi diag`; restart the job without the node if it comes again.",
    OUTSIDE: "Look what the process does (`py-spy dump --pid`): a lock, the data loader, a slow disk, a debugger.",
}
DO_ELSE: Final = "Look whether the process lives and runs (`ps`, `py-spy dump --pid`), then at its node."


def subject_of(job: LiveJob, number: int) -> Subject:
    return Subject(kind=SubjectKind.SUBJECT_KIND_RANK, node=job.ranks[number].node, id=f"{job.name}/{number}")


def hang(job: LiveJob, found: Hang, finding: Finding, number: int, kind: str) -> Claim:
    words = MORE_WORDS.get(kind) or WORDS[kind]
    said = f"{finding.syndrome}, {kind}: rank {number} of job {job.name}, process {job.ranks[number].pid}, holds up {finding.held_up or len(found.waiting)} others: {words}"
    evidence = (
        Evidence(name="longest wait", value=found.waited_s, expected=found.patience_s, unit="s"), Evidence(name="ranks that wait", value=len(found.waiting), expected=0),
        Evidence(name="confidence", value=finding.confidence),
    )  # fmt: skip
    return Claim(HANG, subject_of(job, number), CRITICAL, finding.confidence, _joined(said, finding.evidence[1:]), DO.get(kind, DO_ELSE), DETECTOR, evidence)


def level(job: LiveJob, found: Hang) -> Claim:
    """Somebody waits, and nobody can be named."""
    first = min(job.ranks)
    subject = Subject(kind=SubjectKind.SUBJECT_KIND_JOB, node=job.ranks[first].node, id=job.name)
    said = f"communication hang: ranks {listed(found.waiting)} of job {job.name} wait, for up to {found.waited_s:.0f} s by now, and nobody is behind"
    evidence = (Evidence(name="longest wait", value=found.waited_s, expected=found.patience_s, unit="s"),)
    return Claim(LEVEL, subject, CRITICAL, 0.5, _joined(said, found.verdict.remarks), "Ask NCCL's RAS port, and look at links between these nodes.", DETECTOR, evidence)


def dead(job: LiveJob, death: Death, number: int) -> Claim:
    rank = job.ranks[number]
    how = f"by {rank.reason}" if rank.reason else "without a word: killed, or crashed"
    among = f"; it is one of {listed(death.ranks)}, which went at once" if len(death.ranks) > 1 else ""
    then = f"ranks {listed(death.witnesses)} then lost it or wait for it" if death.witnesses else "the launcher then ended the others"
    said = f"rank {number} of job {job.name}, process {rank.pid}, ended {how}, and {then}{among}"
    evidence = (Evidence(name="ranks that lost it", value=len(death.witnesses), expected=0), Evidence(name="ranks that went at once", value=len(death.ranks), expected=1))
    return Claim(
        DEAD, subject_of(job, number), CRITICAL, 1.0 / len(death.ranks), said,
        "Look at the job's log, the kernel's log (out of memory, segmentation fault, XID) and the node.", DETECTOR, evidence,
    )  # fmt: skip


def slow_key(job: LiveJob, number: int) -> Key:
    return job.ranks[number].node, f"{job.name}/{number}", SLOW


def slow(job: LiveJob, finding: Finding | None, number: int) -> Claim:
    """`finding`: of this turn, None where it is not named in this one and fires on."""
    said = f"rank {number} of job {job.name} is late again and again"
    told = f"{finding.syndrome}, {finding.kind}: {said}" if finding is not None else said
    confidence = finding.confidence if finding is not None else 0.0
    return Claim(
        SLOW, subject_of(job, number), WARNING, confidence, _joined(told, finding.evidence if finding is not None else ()),
        "Look at clocks and temperature of its GPU, its host's load and its data loader; `gpuwarden explain cap` where our own limit may be the reason.",
        DETECTOR, (Evidence(name="confidence", value=confidence),),
    )  # fmt: skip


def _joined(said: str, evidence: Iterable[str]) -> str:
    return ". ".join((said, *list(evidence)[:MOST_EVIDENCE]))
