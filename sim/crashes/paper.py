"""C4's month (Dong et al. 2024, "C4: Communication-Driven Approach..."): one job of 175 B parameters on 2,400 GPUs, before and after, and what is fitted to it.

Its delays are given as shares of the month only, so each of its crashes is taken to cost the mean.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

MONTH_S: Final = 30 * 86_400.0
GPUS: Final = 2400
GPUS_A_NODE: Final = 8


@dataclass(frozen=True, slots=True)
class Column:
    """Of the paper's table: crashes of the month, and percent of it lost."""

    crashes: int
    post_checkpoint: float
    detection: float
    diagnosis_isolation: float
    reinit: float

    def each_s(self, percent: float) -> float:
        """What it comes to for each crash."""
        return percent / 100 * MONTH_S / self.crashes


BEFORE: Final = Column(40, 7.53, 3.41, 19.65, 0.60)
AFTER: Final = Column(12, 0.23, 0.05, 0.73, 0.15)
BEFORE_PERCENT: Final = 31.19
AFTER_PERCENT: Final = 1.16

INTERVAL_BEFORE_S: Final = 2 * BEFORE.each_s(BEFORE.post_checkpoint)  # fitted: a crash finds half an interval undone, on average
INTERVAL_AFTER_S: Final = 600.0


@dataclass(frozen=True, slots=True)
class Cause:
    """`share` of all crashes; of these `on_one_node`."""

    share: float
    on_one_node: float


CAUSES: Final[Mapping[str, Cause]] = MappingProxyType({
    "CUDA error": Cause(0.125, 1.0),
    "ECC or NVLink": Cause(0.275, 1.0),
    "NCCL timeout": Cause(0.20, 0.75),
    "ACK timeout": Cause(0.275, 0.818),
    "other": Cause(0.125, 0.40),
})
ON_ONE_NODE: Final = sum(cause.share * cause.on_one_node for cause in CAUSES.values())

# All of what the paper's after column has for diagnosis and isolation, given to the crashes that are not confined to one node: they took no longer.
PERSON_S: Final = AFTER.each_s(AFTER.diagnosis_isolation) / (1 - ON_ONE_NODE)
