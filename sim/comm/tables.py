"""What lines of a simulated job would be laid out as, without writing and reading each: the same numbers in arrays."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from gpuwarden.core.nccl.process import Process
from gpuwarden.detector.comm.timings import (
    LEAST_MESSAGES,
    RECEIVED,
    SENT,
    Kind,
    Together,
    of_usual_size,
    period_us,
    quick_us,
)
from gpuwarden.sim.comm.block import Block, process_of

Side = tuple[str, int, tuple[str, ...], int | None, int | None]


@dataclass(slots=True)
class Tables:
    """What `Timings` is to lines. Mutable: blocks are taken in one by one."""

    _blocks: dict[Side, list[Block]] = field(default_factory=lambda: defaultdict(list))

    def take(self, blocks: Iterable[Block]) -> None:
        for block in blocks:
            self._blocks[block.name, block.size_bytes, block.groups, block.place, block.peer].append(block)

    @property
    def ranks(self) -> Mapping[Process, int]:
        """The largest is of all ranks, in order."""
        told = max(self._blocks.values(), key=lambda of: of[0].ranks.shape[1])[0].ranks
        return {process_of(rank): rank for rank in told.ravel().tolist()}

    def together(self) -> list[Together]:
        found = list[Together]()
        for (name, size_bytes, groups, place, _), blocks in self._blocks.items():
            if place is None:
                took_us = np.stack([block.took_us for block in blocks])
                every_us = period_us([block.dumped_us for block in blocks])
                for row, group in enumerate(groups):
                    told = ~np.isnan(took_us[:, row]).all(axis=0)
                    members = tuple(process_of(rank) for rank in blocks[0].ranks[row][told].tolist())
                    if len(members) > 1:
                        found.append(Together(Kind(group, name, size_bytes), members, took_us[:, row, told], every_us))
        return found

    def delays_us(self) -> Mapping[tuple[Process, Process], float]:
        quick = dict[tuple[Process, Process, int], float]()
        by_place = {(groups, place): blocks[0].ranks[:, 0] for (_, _, groups, place, _), blocks in self._blocks.items()}
        for (name, size_bytes, groups, place, peer), blocks in self._blocks.items():
            others = by_place.get((groups, peer)) if place is not None else None
            if others is not None:
                for mine, other, us in zip(blocks[0].ranks[:, 0].tolist(), others.tolist(), _quick_us(blocks), strict=True):
                    pair = (mine, other) if name == SENT else (other, mine)
                    key = (process_of(pair[0]), process_of(pair[1]), size_bytes)
                    quick[key] = min(quick.get(key, np.inf), us)
        return of_usual_size({key: us for key, us in quick.items() if us < np.inf})

    def in_messages_us(self) -> Mapping[Process, float]:
        """Of those that no line told of, as long as the others."""
        spent = dict[Process, float]()
        for (name, _, _, place, _), blocks in self._blocks.items():
            if place is not None:
                took_us = np.stack([block.took_us[:, 0] for block in blocks])
                seen = (~np.isnan(took_us)).sum(axis=0)
                total_us = np.nansum(took_us, axis=0) * len(took_us) / np.maximum(seen, 1) * (name == RECEIVED)
                for rank, us in zip(blocks[0].ranks[seen > 0, 0].tolist(), total_us[seen > 0].tolist(), strict=True):
                    spent[process_of(rank)] = spent.get(process_of(rank), 0.0) + us
        return spent


def _quick_us(blocks: Sequence[Block]) -> list[float]:
    """Of each group; infinite where too few lines told."""
    took_us = np.stack([block.took_us[:, 0] for block in blocks])
    if np.isnan(took_us).any():
        told = [column[~np.isnan(column)] for column in took_us.T]
        return [float(quick_us(column)) if len(column) >= LEAST_MESSAGES else np.inf for column in told]
    whole: list[float] = quick_us(took_us).tolist()
    return whole if len(took_us) >= LEAST_MESSAGES else [np.inf] * len(whole)
