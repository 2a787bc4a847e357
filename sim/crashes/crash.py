"""What befalls the job, and what is to be seen of it: a cause is drawn from the paper's mix, what it lets gpuwarden see stands in one table."""

from dataclasses import dataclass
from random import Random
from types import MappingProxyType
from typing import Final, TypeAlias

from gpuwarden.controller.isolation.signals import Scope
from gpuwarden.sim.crashes.inputs import Stated, delay_s
from gpuwarden.sim.crashes.paper import CAUSES

Seen: TypeAlias = tuple[str, Scope, str]  # kind of finding, what it is about, which part

DIED: Final = ("rank_dead", Scope.RANK, "1/0")
STOOD: Final = ("rank_hang", Scope.RANK, "1/0")

# By cause: how it is noticed, what the job's behaviour tells of the node, what sensors tell of it (one of them).
SIGNS: Final = MappingProxyType({
    "CUDA error": ("dead", DIED, ()),
    "ECC or NVLink": ("dead", DIED, (("gpu_ecc_uncorrected", Scope.GPU, "GPU-0"), ("gpu_nvlink_down", Scope.GPU, "GPU-0"))),
    "NCCL timeout": ("stuck", STOOD, ()),
    "ACK timeout": ("stuck", DIED, (("nic_retransmits", Scope.NIC, "mlx5_0/1"),)),
    "other": ("stuck", STOOD, ()),
})


@dataclass(frozen=True, slots=True)
class Crash:
    """`node` is where it is, empty where it is not confined to one; `findings` are by node. `after_s`: from the fault to them.

    `shown`: a test of the node would fail.
    """

    node: str
    after_s: float
    findings: tuple[tuple[str, Seen], ...] = ()
    shown: bool = False


def drawn(nodes: tuple[str, ...], named_ratio: float, stated: Stated, chance: Random) -> Crash:
    """Of a job on `nodes`."""
    cause = chance.choices(tuple(CAUSES), [one.share for one in CAUSES.values()])[0]
    noticed, behaviour, sensed = SIGNS[cause]
    after_s = delay_s(noticed, chance)
    if chance.random() >= CAUSES[cause].on_one_node:
        return Crash("", after_s)
    node = chance.choice(nodes)
    if chance.random() >= named_ratio:
        return Crash(node, stated.watchdog_s)
    accused = node
    if cause == "ACK timeout" and chance.random() >= stated.named_end_ratio:
        accused = chance.choice([one for one in nodes if one != node])
    findings = [(accused, behaviour), *((node, one) for one in ((chance.choice(sensed),) if sensed else ()))]
    return Crash(node, after_s, tuple(findings), chance.random() < stated.shown_ratio)
