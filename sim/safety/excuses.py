"""Nodes that something befalls, and those that do not obey meanwhile: under no limit more at a time than are declared dead."""

from random import Random

import numpy as np

from gpuwarden.sim.safety.site import USUAL, Site


class Excuses:
    """`excused`: does not obey, and is one of the dead that the operator declared. `troubled`: nothing else befalls it now."""

    def __init__(self, site: Site, chance: Random) -> None:
        self._hangs_on, self._chance = site.shares[USUAL] > 0, chance
        self._dead = np.array([one.dead_count for one in site.elements])
        self.excused = np.zeros(len(site.names), bool)
        self.troubled = set[int]()

    def victim(self, dead: bool = False) -> int | None:
        """A node that nothing befalls now; `dead`: and that may cease to obey."""
        nodes = [node for node in range(len(self.excused)) if node not in self.troubled and (not dead or self._spare(node))]
        if not nodes:
            return None
        node = self._chance.choice(nodes)
        self.troubled.add(node)
        self.excused[node] |= dead
        return node

    def _spare(self, node: int) -> bool:
        few = (self._hangs_on & self.excused).sum(axis=1) < self._dead
        return bool(few[self._hangs_on[:, node]].all())

    def pardon(self, node: int) -> None:
        self.excused[node] = False
        self.troubled.discard(node)
