"""What faults of controllers, links and nodes strike, in the safety simulation and in a serving row alike."""

from collections.abc import Sequence
from random import Random
from typing import Final, Protocol

from gpuwarden.sim.safety.excuses import Excuses
from gpuwarden.sim.safety.head import Head
from gpuwarden.sim.safety.memory import Memory
from gpuwarden.sim.safety.network import Network
from gpuwarden.sim.safety.sessions import Sessions
from gpuwarden.sim.safety.site import Site
from gpuwarden.sim.timeline import Timeline

DIES_S: Final = 0.15  # a controller that is to die after some action, if it has not done so much by then
RECOVERS_S: Final = 4.0  # until a node obeys again: an attempt at the driver, limits read back, set anew and settled


class Node(Protocol):
    """A limiter and its driver."""

    def begin(self) -> None:
        """A new limiter, which knows what the last one wrote down."""
        ...

    def end(self) -> None:
        """Its limiter is killed."""
        ...

    def set_by_others(self, limit_w: float) -> None:
        """Somebody else sets all its cards, W of one."""
        ...


class Stage:
    """`head` is the controller; `older_memory`: what it knew before its last start. `read_s`: how often limiters look."""

    site: Site
    time: Timeline
    chance: Random
    servers: Sequence[Node]
    network: Network
    sessions: Sessions
    excuses: Excuses
    head: Head
    read_s: float
    older_memory: Memory | None = None

    def start_head(self) -> None:
        if not self.head.up:
            self.older_memory = self.head.memory.copy()
            self.head.start()

    def kill(self, after_actions: int) -> None:
        """Soon, if not at once."""
        self.head.kill(after_actions)
        self.time.after(DIES_S if self.head.up else 0.0, lambda: self.end_head(self.head))

    def end_head(self, head: Head) -> None:
        head.kill()
        self.sessions.orphan(head)

    def recovers(self, node: int) -> None:
        """It obeys again before long."""
        self.time.after(RECOVERS_S + 2 * self.read_s, lambda: self.excuses.pardon(node))
