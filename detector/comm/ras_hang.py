"""Who holds a job up, from what NCCL's RAS port answered, several times one after another.

Counts are launches, and differ in a healthy job at any moment. A job is taken for stuck where they differ, no count of the communicator has moved from
the first answer to the last, and all its ranks are running. A process that has launched more of a collective waits for one that has launched less;
who is waited for and waits for nobody holds up all. RAS knows nothing of messages: a process that waits in one looks like that too, towards the peers of one
communicator. Who holds up a job is behind in two, its neighbours' and its copies'; or it is one of those that are, and have a communicator of which no collective was launched,
between them.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from gpuwarden.core.nccl.process import Process
from gpuwarden.core.nccl.ras import Absent, Answer, Communicator
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
LEAST_WITNESSES: Final = 2  # communicators
Waits = Mapping[Process, Mapping[Process, list[tuple[str, str]]]]
"""Of each process those that it waits for, and in which communicator and what."""


def verdict_on(answers: Sequence[Answer]) -> Verdict:
    """Answers of one job in order of time; at least one."""
    last = answers[-1]
    rank_of, remarks = _ranks(last), list[str]()
    findings = [*_dead(last, rank_of)]
    if len(answers) < LEAST_ANSWERS:
        remarks.append("one answer does not tell a hang from a job at work: ask again some seconds later")
    else:
        gone, of_messages = {absent.process for one in last.communicators for absent in one.absent}, _of_messages(last)
        behind = [end for end in _behind(_waits(_stuck(answers)), rank_of) if not any(gone & of and end.processes & of for of in of_messages)]
        sure = [end for end in behind if end.witnesses >= LEAST_WITNESSES]
        if not sure and not gone and len(behind) > 1:
            untold = sorted(rank_of[process] for end in behind for process in end.processes)
            remarks.append(f"ranks {listed(untold)} are each behind in one communicator: they may wait for messages, which RAS does not count")
        findings += [_finding(ends, rank_of) for ends in _joined(sure or ([] if gone or len(behind) > 1 else behind), of_messages)]
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
    waits = defaultdict[Process, dict[Process, list[tuple[str, str]]]](dict)
    for communicator in stuck:
        for kind in sorted({kind for member in communicator.members for kind in member.launched}):
            launched = {member.process: member.launched.get(kind, 0) for member in communicator.members}
            most = max(launched.values())
            ahead = [process for process, count in launched.items() if count == most]
            for process, count in launched.items():
                if count < most:
                    for other in ahead:
                        said = f"{kind} of a communicator of {communicator.size}: {count} launched, others {most}"
                        waits[other].setdefault(process, []).append((communicator.key, said))
    return waits


@dataclass(frozen=True, slots=True)
class _End:
    """Where waits end: as many communicators bear witness."""

    processes: frozenset[Process]
    witnesses: int
    said: frozenset[str]
    held_up: int


def _behind(waits: Waits, rank_of: Mapping[Process, int]) -> Iterator[_End]:
    processes = sorted({*waits, *(whom for of in waits.values() for whom in of)}, key=lambda one: rank_of[one])
    number = {process: place for place, process in enumerate(processes)}
    onward = {number[who]: [number[whom] for whom in of] for who, of in waits.items()}
    towards = defaultdict[Process, set[tuple[str, str]]](set)
    for of in waits.values():
        for whom, told_by in of.items():
            towards[whom].update(told_by)
    for found in components(number.values(), onward):
        if not any(whom not in found for one in found for whom in onward.get(one, ())):
            told = {one for place in found for one in towards[processes[place]]}
            communicators = len({communicator for communicator, _ in told})
            yield _End(frozenset(processes[one] for one in found), communicators, frozenset(said for _, said in told), _reaching(found, onward))


def _of_messages(answer: Answer) -> list[frozenset[Process]]:
    """Who has a communicator with others of which no collective was launched."""
    return [
        frozenset({*(member.process for member in one.members), *(absent.process for absent in one.absent)})
        for one in answer.communicators
        if one.size > 1 and not any(any(member.launched.values()) for member in one.members)
    ]


def _joined(ends: Sequence[_End], of_messages: Sequence[frozenset[Process]]) -> list[list[_End]]:
    """Those that may wait for each other's messages together."""
    joined = [[end] for end in ends]
    for of in of_messages:
        some = [group for group in joined if any(end.processes & of for end in group)]
        if len(some) > 1:
            joined = [group for group in joined if group not in some] + [[end for group in some for end in group]]
    return joined


def _finding(ends: Sequence[_End], rank_of: Mapping[Process, int]) -> Finding:
    culprits = sorted((process for end in ends for process in end.processes), key=lambda one: rank_of[one])
    evidence = (_named(culprits, rank_of, len(ends) > 1), *sorted({said for end in ends for said in end.said}))
    confidence = confidence_of(min(end.witnesses for end in ends)) / len(ends)
    held_up = max(end.held_up for end in ends)
    return Finding(tuple(rank_of[one] for one in culprits), NO_LAUNCH, UNKNOWN, round(confidence, 2), evidence, (), held_up)


def _named(culprits: Sequence[Process], rank_of: Mapping[Process, int], by_messages: bool) -> str:
    if by_messages:
        return f"some of ranks {listed(rank_of[one] for one in culprits)} hold the others up by messages, which RAS does not count"
    if len(culprits) > 1:
        return f"ranks {listed(sorted(rank_of[one] for one in culprits))} are each behind another in some communicator: {WORDS[UNKNOWN]}"
    return f"rank {rank_of[culprits[0]]}, process {culprits[0].pid} on {culprits[0].host}: it has launched less than all that wait for it"


def _reaching(ends: set[int], onward: Mapping[int, Sequence[int]]) -> int:
    """How many others wait for these in the end."""
    reached = set(ends)
    while more := {who for who, whom in onward.items() if who not in reached and reached.intersection(whom)}:
        reached |= more
    return len(reached) - len(ends)
