"""Hosts all of whose processes spend more time by themselves than those that do the same elsewhere: to be told only where messages are known.

What sound ones differ by is seen within hosts, since a slow host is not seen there; and between hosts, where there are many.
"""

import math
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

import numpy as np

from gpuwarden.core.nccl.process import Process
from gpuwarden.detector.comm.late import FEW_COST, SURE, Late
from gpuwarden.detector.comm.lateness import Lateness
from gpuwarden.detector.robust import spread

MANY_HOSTS: Final = 16
EACH: Final = 0.5  # of what is surely slow, so that all of a host are


def slow_hosts(kinds: Sequence[Lateness], ranks: Mapping[Process, int], compared: Collection[Process], least_cost: float) -> Iterator[list[Late]]:
    """Of each slow host all processes; of others those that are slow and are not `compared` closer in another way."""
    own = _own(kinds)
    by_host = defaultdict[str, list[Late]](list)
    for process in ranks:
        if process in own:
            by_host[process.host].append(own[process])
    if not by_host:
        return
    middle = {host: float(np.median([late.cost for late in of])) for host, of in by_host.items()}
    within = float(spread(np.array([late.cost - middle[host] for host, of in by_host.items() for late in of])))
    between = float(spread(np.array([*middle.values()]))) if len(middle) >= MANY_HOSTS else FEW_COST / SURE
    least = max(least_cost, SURE * within, SURE * between)
    for host, of in by_host.items():
        if len(of) > 1 and middle[host] > least and min(late.cost for late in of) > EACH * least:
            yield of
        else:
            yield from ([late] for late in of if late.cost > least and late.process not in compared)


def _own(kinds: Sequence[Lateness]) -> dict[Process, Late]:
    """Each process's own time beyond its peers', where that is most."""
    own = dict[Process, Late]()
    for kind in kinds:
        for at, row in zip(kind.of, kind.own.tolist(), strict=True):
            for process, share in zip(at.members, row, strict=True):
                if not math.isnan(share) and (process not in own or share > own[process].cost):
                    own[process] = Late(process, at, share * at.period_us, share, 0.0)
    return own
