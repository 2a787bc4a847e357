"""Where foreign load goes: what a limit's meter has found also goes through the limits above it, and through others once its feed is lost."""

from collections.abc import Mapping

import numpy as np

from gpuwarden.controller.power.level import Watts
from gpuwarden.controller.power.topology import Contingency, Topology
from gpuwarden.controller.power.tree import Tree


class Foreign:
    """`carried_w` turns what meters found into what each limit carries, in every case."""

    def __init__(self, topology: Topology, tree: Tree) -> None:
        self._above = topology.above
        self._upwards = sorted(topology.above, key=lambda name: -len(topology.above[name]))  # what hangs on a limit comes before it
        self._limits = [
            (element, case) for level in tree.levels for element, case in zip(level.elements, level.cases, strict=True)
        ]
        self._ends = np.cumsum([len(level.names) for level in tree.levels])[:-1]
        self._lost = {case.name: self._topmost(case) for case in topology.contingencies}

    def carried_w(self, found_w: Mapping[str, float]) -> list[Watts]:
        """One array a level, one entry a limit. `found_w`: of limits with a meter.

        A limit carries what was found below it, or what its own meter found where that is more. Of a foreign load that hung on a lost
        feed nobody knows whether it has another, and which: each limit that has more to carry then may be the one, and counts it whole.
        """
        whole_w = self._whole_w(found_w)
        moved_w = [whole_w[element] + self._moved_w(element, case, whole_w) for element, case in self._limits]
        return np.split(np.array(moved_w), self._ends)

    def _whole_w(self, found_w: Mapping[str, float]) -> dict[str, float]:
        below_w = dict.fromkeys(self._above, 0.0)
        for name in self._upwards:
            below_w[name] = max(below_w[name], found_w.get(name, 0.0))
            for parent in self._above[name][1:2]:
                below_w[parent] += below_w[name]
        return below_w

    def _moved_w(self, element: str, case: str, whole_w: Mapping[str, float]) -> float:
        """What comes on top in this case. Whatever hung below the element still does."""
        return sum(whole_w[lost] for lost in self._lost.get(case, ()) if element not in self._above[lost])

    def _topmost(self, case: Contingency) -> tuple[str, ...]:
        """Of what is lost, that below no other lost limit."""
        return tuple(name for name in case.lost if not set(self._above[name][1:]) & set(case.lost))
