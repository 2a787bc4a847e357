"""What may change and is no fault: ten healthy changes, each of all nodes of a job. One line of the table each."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from gpuwarden.sim.health.body import Condition
from gpuwarden.sim.health.work import IDLE, KINDS, Kind
from gpuwarden.sim.plant import DEFAULT_W

OfJob = Callable[[Kind, int], Kind]
OfNodes = Callable[[Condition, list[int]], None]


def another_job(_: Kind, __: int) -> Kind:
    return KINDS[4]


def larger_batch(kind: Kind, _: int) -> Kind:
    return replace(kind, compute=1.08 * kind.compute, memory_used=min(0.98, 1.2 * kind.memory_used))


def smaller_batch(kind: Kind, _: int) -> Kind:
    return replace(kind, compute=0.8 * kind.compute, memory_used=0.7 * kind.memory_used, utilization=0.95 * kind.utilization)


def ended(_: Kind, __: int) -> Kind:
    return IDLE


def evaluation(kind: Kind, minute: int) -> Kind:
    """Every other five minutes."""
    return replace(kind, compute=0.5 * kind.compute, network=0.1 * kind.network) if minute // 5 % 2 else kind


def more_checkpoints(kind: Kind, _: int) -> Kind:
    return replace(kind, checkpoint_minutes=5)


def slow_storage(kind: Kind, _: int) -> Kind:
    """All wait for data alike."""
    return replace(kind, utilization=0.6 * kind.utilization, compute=0.6 * kind.compute, memory=0.6 * kind.memory, network=0.6 * kind.network)


def more_host_work(kind: Kind, _: int) -> Kind:
    """Data are prepared on the hosts."""
    return replace(kind, host=min(1.0, 2.5 * kind.host))


def warm_room(now: Condition, nodes: list[int]) -> None:
    now.inlet_c[nodes] += 4.0


def our_cap(now: Condition, nodes: list[int]) -> None:
    """Power is short: gpuwarden caps them all."""
    now.limit_w[nodes], now.ours[nodes] = 0.65 * DEFAULT_W, 1.0


OF_JOBS: Final[Mapping[str, OfJob]] = MappingProxyType({
    change.__name__: change
    for change in (another_job, larger_batch, smaller_batch, ended, evaluation, more_checkpoints, slow_storage, more_host_work)
})
OF_NODES: Final[Mapping[str, OfNodes]] = MappingProxyType({change.__name__: change for change in (warm_room, our_cap)})
