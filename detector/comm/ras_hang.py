"""Who holds a job up, from what NCCL's RAS port answered, several times one after another.

Counts are launches, and differ in a healthy job at any moment. A job is taken for stuck where they differ, no count of the communicator has moved from
the first answer to the last, and all its ranks are running. A process that has launched more of a collective waits for one that has launched less;
who is waited for and waits for nobody holds up all.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from gpuwarden.detector.comm.process import Process
from gpuwarden.detector.comm.ras import Absent, Answer, Communicator
from gpuwarden.detector.comm.strongly import components
from gpuwarden.detector.comm.verdict import (
    DEAD,
    NO_LAUNCH,
    UNKNOWN,
    WORDS,
    Finding,
    Verdict,
    confidence_of,
    listed,
)

LEAST_ANSWERS: Final = 2
Waits = Mapping[Process, Mapping[Process, list[str]]]
"""Of each process those that it waits for, and in what."""


def verdict_on(answers: Sequence[Answer]) -> Verdict:
    """Answers of one job in order of time; at least one."""
    last = answers[-1]
    rank_of, remarks = _ranks(last), list[str]()
    findings = [*_dead(last, rank_of)]
    if len(answers) < LEAST_ANSWERS:
        remarks.append("one answer does not tell a hang from a job at work: ask again some seconds later")
    else:
        findings += _behind(_waits(_stuck(answers)), rank_of)
        if last.at == answers[0].at:
            remarks.append(f"all answers are of {last.at}")
    return Verdict(tuple(sorted(findings, key=lambda one: one.ranks)), tuple(remarks))


def _ranks(answer: Answer) -> dict[Process, int]:
    """A process's rank in the job: in the largest communicator that it is of."""
    ranks = dict[Process, int]()
    for communicator in sorted(answer.communicators, key=lambda one: one.size):
        ranks |= {member.process: member.rank for member in communicator.members}
        ranks |= {absent.process: absent.rank for absent in communicator.absent}
    return ranks


def _dead(answer: Answer, rank_of: Mapping[Process, int]) -> Iterator[Finding]:
    told = defaultdict[Process, list[tuple[Communicator, Absent]]](list)
    for communicator in answer.communicators:
        for absent in communicator.absent:
            told[absent.process].append((communicator, absent))
    for process, where in told.items():
        kind = DEAD if any(absent.dead for _, absent in where) else UNKNOWN
        said = WORDS[DEAD] if kind == DEAD else "it does not answer"
        others = {member.process for communicator, _ in where for member in communicator.members}
        evidence = [f"rank {rank_of[process]}, process {process.pid} on {process.host}: {said}", f"missing from {len(where)} communicators"]
        yield Finding((rank_of[process],), NO_LAUNCH, kind, confidence_of(2 if kind == DEAD else 1), tuple(evidence), (), len(others))


def _stuck(answers: Sequence[Answer]) -> list[Communicator]:
    """Those of which nothing has moved, whole and running, with launches that differ."""
    before = {one.key: one for one in answers[0].communicators}
    return [
        one
        for one in answers[-1].communicators
        if (then := before.get(one.key)) is not None
        and all(member.running for member in one.members)
        and {member.rank: member.launched for member in one.members} == {member.rank: member.launched for member in then.members}
    ]


def _waits(stuck: Sequence[Communicator]) -> Waits:
    waits = defaultdict[Process, dict[Process, list[str]]](dict)
    for communicator in stuck:
        for kind in sorted({kind for member in communicator.members for kind in member.launched}):
            launched = {member.process: member.launched.get(kind, 0) for member in communicator.members}
            most = max(launched.values())
            ahead = [process for process, count in launched.items() if count == most]
            for process, count in launched.items():
                if count < most:
                    for other in ahead:
                        said = f"{kind} of a communicator of {communicator.size}: {count} launched, others {most}"
                        waits[other].setdefault(process, []).append(said)
    return waits


def _behind(waits: Waits, rank_of: Mapping[Process, int]) -> Iterator[Finding]:
    processes = sorted({*waits, *(whom for of in waits.values() for whom in of)}, key=lambda one: rank_of[one])
    number = {process: place for place, process in enumerate(processes)}
    onward = {number[who]: [number[whom] for whom in of] for who, of in waits.items()}
    for found in components(number.values(), onward):
        if any(whom not in found for one in found for whom in onward.get(one, ())):
            continue
        culprits = [processes[one] for one in sorted(found)]
        ranks = tuple(sorted(rank_of[one] for one in culprits))
        witnesses = sorted({said for of in waits.values() for whom, told in of.items() if whom in culprits for said in told})
        evidence = (_named(culprits, rank_of), *witnesses)
        yield Finding(ranks, NO_LAUNCH, UNKNOWN, round(confidence_of(len(witnesses)), 2), evidence, (), _reaching(found, onward))


def _named(culprits: Sequence[Process], rank_of: Mapping[Process, int]) -> str:
    if len(culprits) > 1:
        return f"ranks {listed(sorted(rank_of[one] for one in culprits))} are each behind another in some communicator: {WORDS[UNKNOWN]}"
    return f"rank {rank_of[culprits[0]]}, process {culprits[0].pid} on {culprits[0].host}: it has launched less than all that wait for it"


def _reaching(ends: set[int], onward: Mapping[int, Sequence[int]]) -> int:
    """How many others wait for these in the end."""
    reached = set(ends)
    while more := {who for who, whom in onward.items() if who not in reached and reached.intersection(whom)}:
        reached |= more
    return len(reached) - len(ends)
