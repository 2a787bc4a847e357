"""Who makes a job slow: C4D's non-communication slow and communication slow, from what operations took.

The last to come to a collective waits least in it, so the shortest time is the late one's (C4D). Who is late again and again has either spent the time by
itself, or waited for others elsewhere. The second kind has longer times in its other operations than its peers have in theirs, by as much as it is late: it is
a victim, and no clock has to be compared to say so. Where all of a communicator take longer than those of its like do, nobody is late, and what it
goes over is slow.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np

from gpuwarden.core.nccl.process import Process
from gpuwarden.detector.comm.beside import Floats
from gpuwarden.detector.comm.delays import slow_paths
from gpuwarden.detector.comm.late import ELSEWHERE, FEW_COST, SURE, Late, late_at
from gpuwarden.detector.comm.lateness import lateness_of
from gpuwarden.detector.comm.slow_hosts import slow_hosts
from gpuwarden.detector.comm.timings import Measured
from gpuwarden.detector.comm.verdict import UNKNOWN, Finding, Verdict, listed
from gpuwarden.detector.robust import spread

LATE: Final = "non-communication slow"
LEAST_COST: Final = 0.01  # of the time between two operations: less is not worth a word
MANY: Final = 32  # ranks, of which most are sound: how much they differ is seen from themselves
AGAIN: Final = 4.5  # standard deviations of chance, at operations that come seldom
MANY_BESIDE: Final = 8  # of a communicator, where with one all that wait for it are late


def verdict_on(timings: Measured, least_cost: float = LEAST_COST) -> Verdict:
    """Of one job, from all its logs. `least_cost`: share of the time between two operations, below which nobody is late."""
    together, messages_us = timings.together(), timings.in_messages_us()
    kinds = [*lateness_of(together, messages_us)]
    if not kinds:
        return Verdict((), ("too few operations of a kind that can be compared",))
    ranks, shortest_us = timings.ranks, min(kind.every_us for kind in kinds)
    often = [kind for kind in kinds if kind.every_us < 2 * shortest_us]
    seldom = [kind for kind in kinds if kind.every_us >= 2 * shortest_us]
    at_once = [late for kind in often for late in late_at(kind, _least(kind.cost, least_cost))]
    in_the_end = [late for kind in seldom for late in late_at(kind, _least(kind.cost, least_cost, MANY_BESIDE), AGAIN)]
    culprits = _once(late for late in at_once if late.by_itself)
    paths = slow_paths(timings.delays_us(), together)
    named = [[late] for late in culprits]
    if messages_us:
        compared = {member for kind in often for one in kind.of for member in one.members} if seldom else {late.process for late in culprits}
        named += slow_hosts(seldom or often, ranks, compared, least_cost)
        untold = list[Late]()
    else:
        untold = _untold(in_the_end, culprits, max((path.added_us for path in paths), default=0.0))
    blamed = {late.process for of in (*named, untold) for late in of}
    victims = len({late.process for late in (*at_once, *in_the_end)} - blamed)
    findings = [*(path.finding(ranks) for path in paths), *(_finding(of, victims, ranks) for of in named), *([_one_of(untold, victims, ranks)] if untold else [])]
    return Verdict(tuple(sorted(findings, key=lambda one: one.ranks)), ())


def _least(shares: Floats, least: float, beside: int = 0) -> float:
    """What sound ranks do not reach by chance."""
    told = shares[~np.isnan(shares)]
    return max(least, SURE * float(spread(told)) if len(told) >= MANY and shares.shape[1] >= beside else FEW_COST)


def _once(suspects: Iterable[Late]) -> list[Late]:
    """Of each process where it costs most."""
    most = dict[Process, Late]()
    for late in suspects:
        if late.process not in most or late.cost > most[late.process].cost:
            most[late.process] = late
    return [*most.values()]


def _untold(suspects: Sequence[Late], culprits: Sequence[Late], added_us: float) -> list[Late]:
    """Where somebody did not wait elsewhere, as far as is known, and is later than all that wait for the culprits or for a slow network would be: all
    of whom that can be said."""
    explained = sum(late.cost for late in culprits)
    left = [late for late in suspects if late.by_itself]
    if not any(ELSEWHERE * late.cost >= explained and late.late_us > added_us for late in left):
        return []
    return _once(late for late in left if late.late_us > added_us)


def _finding(found: Sequence[Late], victims: int, ranks: Mapping[Process, int]) -> Finding:
    """These, by themselves."""
    worst, one = max(found, key=lambda late: late.cost), found[0].process
    numbers = tuple(sorted(ranks[late.process] for late in found))
    who = f"rank {ranks[one]}, process {one.pid} on {one.host}" if len(found) == 1 else f"ranks {listed(numbers)} on {one.host}"
    waited = f"in other operations it waited {max(worst.elsewhere_us, 0.0):,.0f} us more than its peers there: it is late by itself"
    return Finding(numbers, LATE, "slow", round(_confidence(worst.cost), 2), (f"{who}: {_said(worst)}", waited), (), victims)


def _one_of(found: Sequence[Late], victims: int, ranks: Mapping[Process, int]) -> Finding:
    """Some of these: the others wait for them, or all wait for a message."""
    worst, numbers = max(found, key=lambda late: late.cost), tuple(sorted(ranks[late.process] for late in found))
    who = f"some of ranks {listed(numbers)} on {', '.join(sorted({late.process.host for late in found}))}"
    why = "these, or whom they get messages from: the logs hold no messages, which NCCL 2.30.3 and later write"
    return Finding(numbers, LATE, UNKNOWN, round(_confidence(worst.cost) / 2, 2), (f"{who}: {_said(worst)}", why), (), victims)


def _said(late: Late) -> str:
    where = f"{late.at.kind.name} of {late.at.kind.size_bytes:,} bytes of {len(late.at.members)} ranks"
    return f"late by {late.late_us:,.0f} us at each {where}, {late.cost:.1%} of the time from one to the next"


def _confidence(cost: float) -> float:
    """It orders findings, and is no measured frequency."""
    return min(0.99, 1.0 - math.pow(0.5, cost / FEW_COST))
