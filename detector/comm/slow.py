"""Who makes a job slow: C4D's non-communication slow and communication slow, from what operations took.

The last to come to a collective waits least in it, so the shortest time is the late one's (C4D). Who is late again and again has either spent the time by
itself, or waited for others elsewhere. The second kind has longer times in its other operations than its peers have in theirs, by as much as it is late: it is
a victim, and no clock has to be compared to say so. Where all of a communicator take longer than those of its like do, nobody is late, and what it
goes over is slow.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from gpuwarden.detector.comm.delays import slow_paths
from gpuwarden.detector.comm.process import Process
from gpuwarden.detector.comm.timings import Times, Timings, Together
from gpuwarden.detector.comm.verdict import UNKNOWN, Finding, Verdict, listed

LATE: Final = "non-communication slow"
ALIKE: Final = ("AllReduce", "AllGather", "ReduceScatter")  # in which all ranks do the same
LEAST_OPERATIONS: Final = 20
LEAST_RANKS: Final = 0.75  # of a communicator, in an operation that counts
LEAST_COST: Final = 0.025  # of the time between two operations: sound cards differ by less
SURE: Final = 6.0  # standard errors of a median
ELSEWHERE: Final = 0.5  # share of its lateness that a victim has waited elsewhere


@dataclass(frozen=True, slots=True)
class Late:
    """`late_us` behind the middle of the others, at each operation; `cost`: share of the time between two."""

    process: Process
    at: Together
    late_us: float
    cost: float
    elsewhere_us: float


def verdict_on(timings: Timings, least_cost: float = LEAST_COST) -> Verdict:
    """Of one job, from all its logs. `least_cost`: share of the time between two operations, below which nobody is late."""
    together = [one for one in timings.together() if one.kind.name in ALIKE and len(one.took_us) >= LEAST_OPERATIONS]
    if not together:
        return Verdict((), ("too few operations of a kind that can be compared",))
    ranks = timings.ranks
    suspects = [late for one in together for late in _late(one, together, timings.in_messages_us()) if late.cost > least_cost]
    culprits = [late for late in suspects if late.elsewhere_us < ELSEWHERE * late.late_us]
    delays_us = timings.delays_us()
    findings = [*slow_paths(delays_us, together, ranks), *_blamed(_finest(culprits), suspects, ranks, bool(delays_us), _shortest_us(together))]
    return Verdict(tuple(sorted(findings, key=lambda one: one.ranks)), ())


def _late(one: Together, together: Sequence[Together], messages_us: Mapping[Process, float]) -> Iterator[Late]:
    whole = one.took_us[(~np.isnan(one.took_us)).mean(axis=1) >= LEAST_RANKS]
    if len(whole) < LEAST_OPERATIONS or one.period_us <= 0:
        return
    each_late = medians_of_others(whole) - whole
    for place, process in enumerate(one.members):
        late = each_late[:, place]
        late = late[~np.isnan(late)]
        if len(late) < LEAST_OPERATIONS:
            continue
        middle = float(np.median(late))
        error = 1.2533 * 1.4826 * float(np.median(np.abs(late - middle))) / np.sqrt(len(late))
        cost = middle / one.period_us
        if cost > LEAST_COST and middle > SURE * error:
            yield Late(process, one, middle, cost, _elsewhere_us(process, one, together, messages_us))


def medians_of_others(times: Times) -> Times:
    """(operations, members): of each operation the median without that member, NaN where the member or all others are NaN."""
    order = np.argsort(times, axis=1)  # NaN last
    in_order, place = np.take_along_axis(times, order, axis=1), np.argsort(order, axis=1)
    others = (~np.isnan(times)).sum(axis=1, keepdims=True) - 1
    below, above = np.maximum((others - 1) // 2, 0), np.minimum(others // 2, times.shape[1] - 1)
    sides = [np.take_along_axis(in_order, np.minimum(side + (place <= side), times.shape[1] - 1), axis=1) for side in (below, above)]
    return np.where(np.isnan(times) | (others < 1), np.nan, (sides[0] + sides[1]) / 2)


def _elsewhere_us(process: Process, at: Together, together: Sequence[Together], messages_us: Mapping[Process, float]) -> float:
    """How much longer than its peers the process was in other operations, for each of these."""
    spent = {member: messages_us.get(member, 0.0) for member in at.members}
    for other in together:
        if other.kind.communicator != at.kind.communicator:
            for place, member in enumerate(other.members):
                if member in spent:
                    spent[member] += float(np.nanmean(other.took_us[:, place])) * len(other.took_us)
    peers = [us for member, us in spent.items() if member != process]
    return (spent[process] - float(np.median(peers))) / len(at.took_us)


def _finest(culprits: Sequence[Late]) -> list[Late]:
    """Where lateness is seen at operations that come often, it is what is behind that at seldom ones, unless it is much less than that."""
    kept = list[Late]()
    for late in sorted(culprits, key=lambda one: one.at.period_us):
        if any(one.process == late.process for one in kept):
            continue
        if any(one.at.period_us < 0.5 * late.at.period_us and one.cost > 0.5 * late.cost for one in kept):
            continue
        kept.append(late)
    return kept


def _shortest_us(together: Sequence[Together]) -> float:
    return min(one.period_us for one in together)


def _blamed(culprits: Sequence[Late], suspects: Sequence[Late], ranks: Mapping[Process, int], messages: bool, shortest_us: float) -> Iterator[Finding]:
    """Who is late at the operations that come most often is late beside those who do the same: a finding each. Those late at seldom ones alone, of the
    same kind and by about the same, cannot be told apart: one finding. Where logs hold no messages, these may as well have waited for one.
    """
    victims = {late.process for late in suspects} - {late.process for late in culprits}
    left = list(culprits)
    while left:
        first = left[0]
        often = first.at.period_us < 2 * shortest_us
        same = [first] if often else [one for one in left if one.at.kind.name == first.at.kind.name and one.at.kind.size_bytes == first.at.kind.size_bytes and _near(one, first)]
        together = [one for one in same if one is first or one.at is not first.at] if len(same) > 1 else same
        left = [one for one in left if one not in together]
        yield _finding(together, len(victims), ranks, told=messages or often)


def _near(one: Late, other: Late) -> bool:
    return 0.5 < one.late_us / other.late_us < 2.0


def _finding(found: Sequence[Late], victims: int, ranks: Mapping[Process, int], told: bool) -> Finding:
    numbers = tuple(sorted(ranks[late.process] for late in found))
    worst = max(found, key=lambda late: late.cost)
    one = found[0].process
    who = f"rank {ranks[one]}, process {one.pid} on {one.host}" if len(found) == 1 else f"ranks {listed(numbers)} on {', '.join(sorted({late.process.host for late in found}))}"
    where = f"{worst.at.kind.name} of {worst.at.kind.size_bytes:,} bytes of {len(worst.at.members)} ranks"
    evidence = [f"{who}: late by {worst.late_us:,.0f} us at each {where}, {worst.cost:.1%} of the time from one to the next"]
    if told:
        evidence.append(f"in other operations it waited {max(worst.elsewhere_us, 0.0):,.0f} us more than its peers there: it is late by itself")
    else:
        evidence.append("these, or whom they get messages from: the logs hold no messages, which NCCL 2.30.3 and later write")
    confidence = min(0.99, 1.0 - 0.5 ** (worst.cost / LEAST_COST)) * (1.0 if told else 0.5)
    return Finding(numbers, LATE, "slow" if told else UNKNOWN, round(confidence, 2), tuple(evidence), (), victims)
