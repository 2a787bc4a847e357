"""Who holds everybody up: where the waits of all ranks end.

C4D's non-communication hang: some ranks never launched an operation that their peers wait in, or their device is behind their peers' (Dong et al.,
"Boosting Large-scale Parallel Training Efficiency with C4", 2024, section on C4D). A wait that ends with several who wait in the same operation, all of
them level, tells that they hang and not for whose sake: that is said, and nobody is named.
"""

from collections import defaultdict, deque
from collections.abc import Sequence

from gpuwarden.detector.comm.flight_folder import Dumps
from gpuwarden.detector.comm.strongly import components
from gpuwarden.detector.comm.verdict import (
    DEVICE,
    NO_LAUNCH,
    OUTSIDE,
    UNKNOWN,
    WORDS,
    Finding,
    Verdict,
    confidence_of,
    listed,
)
from gpuwarden.detector.comm.waits import HARD, Because, Wait, lagging, waits_of


def verdict_on(dumps: Dumps) -> Verdict:
    """The same whatever ranks are called."""
    waits = waits_of(dumps)
    onward, back = defaultdict[int, list[Wait]](list), defaultdict[int, list[Wait]](list)
    for wait in waits:
        onward[wait.who].append(wait)
        back[wait.whom].append(wait)
    findings, remarks = list[Finding](), list[str]()
    for ranks in components({*dumps.by_rank, *back}, {who: [wait.whom for wait in ways] for who, ways in onward.items()}):
        if any(wait.whom not in ranks for rank in ranks for wait in onward[rank]):
            continue
        within = [wait for rank in ranks for wait in onward[rank]]
        if any(wait.because is Because.TOGETHER for wait in within):
            remarks.append(_level(sorted(ranks), within[0]))
        elif blamed := [wait for rank in ranks for wait in back[rank] if wait.because in (*HARD, Because.MISSING)]:
            findings.append(_finding(sorted(ranks), blamed, dumps, back))
    remarks += [f"rank {rank} left no dump" for rank in dumps.missing]
    return Verdict(tuple(sorted(findings, key=lambda one: one.ranks)), tuple(remarks))


def _level(ranks: Sequence[int], wait: Wait) -> str:
    what, group = wait.pending.name.partition(" ")[0], wait.pending.group.desc
    return f"ranks {listed(ranks)} all wait in the same {what} of {group}, and none of them is behind: whose fault that is cannot be told from dumps"


def _finding(ranks: Sequence[int], blamed: Sequence[Wait], dumps: Dumps, back: dict[int, list[Wait]]) -> Finding:
    kind = _kind(ranks, dumps)
    groups = {wait.pending.group for wait in blamed}
    held_up, chain = _reached(ranks, back)
    confidence = confidence_of(len(groups))
    if any(wait.because is Because.MISSING for wait in blamed):
        confidence /= 2
    if len(ranks) > 1:
        evidence = [f"ranks {listed(ranks)} wait for each other, each in an operation that the next has not asked for"]
    else:
        evidence = [f"rank {ranks[0]}: {WORDS[kind]}"]
    evidence += [_witness(group.desc, [wait for wait in blamed if wait.pending.group == group]) for group in groups]
    return Finding(tuple(ranks), NO_LAUNCH, kind, round(confidence, 2), (evidence[0], *sorted(evidence[1:])), chain, held_up)


def _kind(ranks: Sequence[int], dumps: Dumps) -> str:
    """What the rank's own dump tells of it."""
    dump = dumps.by_rank.get(ranks[0])
    if len(ranks) > 1 or dump is None or not dump.counts:
        return UNKNOWN
    if not dump.pending and all(counts.asked == counts.done for counts in dump.counts.values()):
        return OUTSIDE
    return DEVICE if ranks[0] in lagging(dumps) else UNKNOWN


def _reached(ranks: Sequence[int], back: dict[int, list[Wait]]) -> tuple[int, tuple[str, ...]]:
    """How many others wait for these in the end, and the waits from one of the farthest."""
    after = dict[int, Wait | None](dict.fromkeys(ranks))
    line, last = deque(ranks), ranks[0]
    while line:
        last = line.popleft()
        for wait in back[last]:
            if wait.who not in after and wait.because is not Because.TOGETHER:
                after[wait.who] = wait
                line.append(wait.who)
    chain, at = list[str](), after[last]
    while at is not None:
        chain.append(at.said)
        at = after[at.whom]
    return len(after) - len(ranks), tuple(chain)


def _witness(group: str, waits: Sequence[Wait]) -> str:
    first, who = waits[0], sorted({wait.who for wait in waits})
    return f"in {group}: {listed(who)} {'waits' if len(who) == 1 else 'wait'} in {first.pending.said}; it {first.because.value}"
