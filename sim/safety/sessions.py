"""Which controller each node's agent has a session with. An agent without one tries again and again."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Final

from gpuwarden.sim.safety.head import Head
from gpuwarden.sim.timeline import Timeline

RECONNECT_S: Final = 1.0


@dataclass(slots=True)
class Link:
    """`head`: the controller that this node's agent knows of."""

    head: Head
    session: int | None = None


class Sessions:
    """`reachable(node)`: the node is up, and its agent and the way to the controller are as they should be."""

    def __init__(self, head: Head, nodes: int, time: Timeline, chance: Random, reachable: Callable[[int], bool]) -> None:
        self.links = [Link(head) for _ in range(nodes)]
        self._time, self._chance, self._reachable = time, chance, reachable
        for node in range(nodes):
            self._connect_soon(node)

    def _connect_soon(self, node: int) -> None:
        self._time.after(self._chance.uniform(0.0, RECONNECT_S), lambda: self._connect(node))

    def _connect(self, node: int) -> None:
        link = self.links[node]
        if link.head.up and self._reachable(node):
            link.session = link.head.open(node)
        else:
            self._connect_soon(node)

    def end(self, node: int) -> None:
        link = self.links[node]
        if link.session is not None:
            link.head.close(link.session)
            link.session = None
            self._connect_soon(node)

    def turn_to(self, node: int, head: Head) -> None:
        """From now on its agent looks for this controller."""
        self.end(node)
        self.links[node].head = head

    def orphan(self, head: Head) -> None:
        """Sessions end with the controller."""
        for node, link in enumerate(self.links):
            if link.head is head and link.session is not None:
                link.session = None
                self._connect_soon(node)
