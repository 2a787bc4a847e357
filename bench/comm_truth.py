"""What can be told of a fault in a simulated job, from how the job is built alone: its own ranks, and the smallest set that what the logs hold tells apart."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from gpuwarden.detector.comm.delays import SLOW
from gpuwarden.detector.comm.slow import LATE
from gpuwarden.sim.comm.shape import CARDS, Fault, Shape

ONE_OF_FOUR = 0.75  # of ways alike; if more are slow nobody knows what is usual
Way = tuple[str, frozenset[int]]


@dataclass(frozen=True, slots=True)
class Part:
    """`truth`: ranks of the faulty part; `bound`: those of all parts that would leave the same records. `told`: whether records differ from a sound job's."""

    truth: frozenset[int]
    bound: frozenset[int]
    syndrome: str
    told: bool


def parts(shape: Shape, faults: Sequence[Fault], messages: bool) -> list[Part]:
    networks = [fault.at for fault in faults if fault.kind == "slow_nic"]
    return [_network(shape, fault.at, networks, messages) if fault.kind == "slow_nic" else _own(shape, fault, messages) for fault in faults if fault.kind != "slow_fabric"]


def _own(shape: Shape, fault: Fault, messages: bool) -> Part:
    """Without messages a host that is slow looks like the others that work on the same copies, or on copies with the same experts."""
    truth = fault.ranks(shape)
    first = [rank // (shape.pipeline * shape.tensor) // shape.expert * shape.expert for rank in truth]
    copies = {copy + more for copy in first for more in range(shape.expert)}
    wide = messages or fault.kind == "slow_gpu" or shape.pipeline == 1
    return Part(truth, truth if wide else frozenset(shape.grid[sorted(copies)].ravel().tolist()), LATE, True)


def _network(shape: Shape, host: int, slow: Iterable[int], messages: bool) -> Part:
    """Hosts over which goes all that goes over this one, and nothing that is not slow."""
    ways = _ways(shape, messages)
    for kind in {kind for kind, _ in ways}:
        alike = [way for way in ways if way[0] == kind]
        if sum(bool(way[1].intersection(slow)) for way in alike) > ONE_OF_FOUR * len(alike):
            ways = [way for way in ways if way[0] != kind]
    hurt = {way for way in ways if way[1].intersection(slow)}
    mine = {way for way in ways if host in way[1]}
    like = [other for other in range(shape.hosts) if mine <= {way for way in ways if other in way[1]} <= hurt]
    bound = frozenset(rank for other in like for rank in range(CARDS * other, min(CARDS * other + CARDS, shape.ranks)))
    return Part(Fault("slow_nic", host, 0.0).ranks(shape), bound, SLOW, bool(mine))


def _ways(shape: Shape, messages: bool) -> list[Way]:
    hosts = shape.grid // CARDS
    ways = [("data", frozenset(hosts[:, stage, tensor].tolist())) for stage in range(shape.pipeline) for tensor in range(shape.tensor)]
    if shape.expert > 1:
        blocks = hosts.reshape(-1, shape.expert, shape.pipeline, shape.tensor)
        ways += [("expert", frozenset(blocks[at[0], :, at[1], at[2]].tolist())) for at in np.ndindex(len(blocks), shape.pipeline, shape.tensor)]
    if messages:
        ways += [("message", frozenset({*pair})) for stage in range(shape.pipeline - 1) for pair in zip(hosts[:, stage].ravel().tolist(), hosts[:, stage + 1].ravel().tolist(), strict=True)]
    return [(kind, of) for kind, of in dict.fromkeys(ways) if len(of) > 1]

