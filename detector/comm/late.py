"""A rank that is late, or spends more time by itself than those that do the same."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from gpuwarden.core.nccl.process import Process
from gpuwarden.detector.comm.lateness import Lateness
from gpuwarden.detector.comm.timings import Together

FEW_COST: Final = 0.025  # of the time between two operations, where too few can be compared to see how much sound ones differ
SURE: Final = 6.0  # standard deviations of sound ranks, and standard errors of a median
ELSEWHERE: Final = 0.5  # share of its lateness that a victim has waited elsewhere


@dataclass(frozen=True, slots=True)
class Late:
    """`late_us` behind the middle of the others at each operation, or more by itself; `cost`: share of the time between two."""

    process: Process
    at: Together
    late_us: float
    cost: float
    elsewhere_us: float

    @property
    def by_itself(self) -> bool:
        return self.elsewhere_us < ELSEWHERE * self.late_us


def late_at(kind: Lateness, least: float, signs: float = 0.0) -> Iterator[Late]:
    """All that come surely late to these communicators, by a share of more than `least`, and so often that it is more than `signs` standard deviations of
    chance: of times that fall into two heaps a median's error tells little."""
    with np.errstate(invalid="ignore"):
        found = (kind.cost > least) & (kind.late_us > SURE * kind.error_us) & (kind.signs > signs)
    for row, place in np.argwhere(found).tolist():
        at, elsewhere_us = kind.of[row], float(np.nan_to_num(kind.elsewhere_us[row, place]))
        yield Late(at.members[place], at, float(kind.late_us[row, place]), float(kind.cost[row, place]), elsewhere_us)
