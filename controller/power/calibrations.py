"""The calibration of every metered limit of a domain, fed with readings that our sums are complete for and calm around."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from gpuwarden.controller.power.calibration import MOST_ALONE, Calibration
from gpuwarden.controller.power.hostlist import expand
from gpuwarden.controller.power.level import Places, Watts
from gpuwarden.controller.power.limit import LimitConfig
from gpuwarden.controller.power.node_class import NodeClass
from gpuwarden.controller.power.topology import Shares

STEP: Final = 0.005  # upwards: sums need not be made anew for less
CALM_RATIO: Final = 0.02  # by how much our sum may move within a reading's window


class Calibrations:
    """`by_limit`: of the given ones, where nodes hang there. Arrays have one entry a node of the domain."""

    def __init__(
        self, limits: Sequence[LimitConfig], shares: Mapping[str, Shares], declared_w: Mapping[str, float], classes: Sequence[NodeClass]
    ) -> None:
        self.by_limit = {
            limit.name: _calibration(limit, shares[limit.name], declared_w[limit.name], classes) for limit in limits if shares[limit.name].any()
        }
        self._counts = {name: np.ones(len(one.nodes)) for name, one in self.by_limit.items()}

    def learn(self, limit: str, told_s: float, power_w: float, seen_w: Sequence[Watts]) -> bool:
        """`seen_w`: what the sensors showed in the reading's time; NaN for nodes that were not in contact, and then nothing is learnt.

        True if nodes now count otherwise.
        """
        calibration = self.by_limit.get(limit)
        if calibration is None:
            return False
        of_ours = np.mean([gpus_w[calibration.nodes] for gpus_w in seen_w], axis=0)
        if not np.isfinite(of_ours).all():
            return False
        calibration.learn(told_s, power_w, of_ours)
        of_groups = np.array([gain.counts for gain in calibration.gains])
        counts = np.ceil(of_groups[calibration.group] / STEP - 1e-9) * STEP
        before, self._counts[limit] = self._counts[limit], counts
        return bool((counts != before).any())

    def counts(self, nodes: int) -> Watts:
        """What one watt that a node's sensors show must be taken for, by the meter that makes most of it."""
        counts = np.ones(nodes)
        for name, calibration in self.by_limit.items():
            counts[calibration.nodes] = np.maximum(counts[calibration.nodes], self._counts[name])
        return counts


def _calibration(limit: LimitConfig, shares: Shares, declared_w: float, classes: Sequence[NodeClass]) -> Calibration:
    nodes = np.flatnonzero(shares)
    names = [name for made in classes for name in expand(made.nodes)]
    made_of = np.repeat(np.arange(len(classes)), [len(expand(made.nodes)) for made in classes])[nodes]
    slope, base_w = (np.array([getattr(made, key) for made in classes])[made_of] for key in ("slope", "base_w"))
    group, of = _groups(nodes, made_of, names, classes)
    return Calibration(nodes, shares[nodes] * slope, group, of, declared_w + float((shares[nodes] * base_w).sum()), limit.rating_w)


def _groups(nodes: Places, made_of: Places, names: Sequence[str], classes: Sequence[NodeClass]) -> tuple[Places, list[str]]:
    """(group of each node, name of each group)."""
    if len(nodes) <= MOST_ALONE:
        return np.arange(len(nodes)), [names[node] for node in nodes.tolist()]
    there, group = np.unique(made_of, return_inverse=True)
    return group, [classes[number].name for number in there.tolist()]
