"""Records that are not as an analyzer would like them: lost, overwritten, missing, of uneven sizes, or of a communicator that ends."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from gpuwarden.sim.comm.block import Block

WORLD = "world"


def lost(blocks: Iterable[Block], share: float, seed: int) -> Iterator[Block]:
    """Lines at random."""
    chance = np.random.default_rng(seed)
    for block in blocks:
        gone = chance.random(block.took_us.shape) < share
        yield block if block.groups == (WORLD,) else replace(block, took_us=np.where(gone, np.nan, block.took_us))


def without(blocks: Iterable[Block], ranks: Iterable[int]) -> Iterator[Block]:
    """Nothing of these ranks."""
    away = np.array(sorted(ranks))
    for block in blocks:
        yield replace(block, took_us=np.where(np.isin(block.ranks, away), np.nan, block.took_us))


def overwritten(blocks: Iterable[Block], kept: int) -> Iterator[Block]:
    """Of each communicator only the newest `kept` of each dump, as where its ring is too small."""
    ring = dict[tuple[str, ...], deque[Block]]()
    for block in blocks:
        of = ring.setdefault((block.name, *block.groups, str(block.place), str(block.peer)), deque())
        if of and of[-1].dumped_us != block.dumped_us:
            yield from of
            of.clear()
        of.append(block)
        if len(of) > kept:
            of.popleft()
    for of in ring.values():
        yield from of


def uneven(blocks: Iterable[Block]) -> Iterator[Block]:
    """Every third collective is half as large, and so another kind."""
    for place, block in enumerate(blocks):
        yield replace(block, size_bytes=block.size_bytes // 2) if place % 3 == 0 and block.place is None and block.groups != (WORLD,) else block


def renewed(blocks: Iterable[Block], after: int) -> Iterator[Block]:
    """Communicators that end after so many operations of each, and others in their place."""
    seen = dict[tuple[str, ...], int]()
    for block in blocks:
        key = block.name, *block.groups
        seen[key] = seen.get(key, 0) + 1
        yield block if seen[key] <= after or block.groups == (WORLD,) else replace(block, groups=tuple(f"{group}+" for group in block.groups))
