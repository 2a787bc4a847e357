"""Operations that groups alike do side by side, as arrays; and the lines that their ranks would write of them."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gpuwarden.core.nccl.inspector import Done
from gpuwarden.core.nccl.process import Process
from gpuwarden.sim.comm.shape import CARDS

Seconds = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Block:
    """One operation of each of `groups`: `ranks` of the job and `took_us` are (groups, ranks that tell of it); NaN where a line was lost. `size`: members of a
    group. Of a message `place` is the one that tells and `peer` the other; of a collective all members tell, in order."""

    name: str
    size_bytes: int
    groups: tuple[str, ...]
    size: int
    ranks: NDArray[np.int64]
    took_us: Seconds
    dumped_us: int
    place: int | None = None
    peer: int | None = None


def process_of(rank: int) -> Process:
    return Process(f"host{rank // CARDS}", 4000 + rank)


def lines(blocks: Iterable[Block]) -> Iterator[Done]:
    """Numbers count a communicator's operations of one name, and of messages all that one rank has to do with."""
    numbers = defaultdict[tuple[str, str, int | None], int](int)
    for block in blocks:
        name = "" if block.peer is not None else block.name
        for row, group in enumerate(block.groups):
            key = group, name, block.place
            for place, (rank, us) in enumerate(zip(block.ranks[row].tolist(), block.took_us[row].tolist(), strict=True)):
                if not math.isnan(us):
                    at = place if block.place is None else block.place
                    yield Done(group, at, block.size, process_of(rank), block.name, numbers[key], block.size_bytes, us, block.peer, block.dumped_us)
            numbers[key] += 1
