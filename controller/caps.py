"""Which nodes our own power caps hold back, from the power decider's pictures: a capped node is not a slow node."""

from collections.abc import Callable

from gpuwarden.controller.isolation.events import CapsSeen
from gpuwarden.proto.control_pb2 import Node, WatchResponse

SAME_W = 1.0


class Caps:
    """Says it once of every node that was heard of, and again when it changes. `offer` answers whether there was room; else it is said with the next picture."""

    def __init__(self, offer: Callable[[CapsSeen], bool]) -> None:
        self._offer = offer
        self._said = dict[str, bool]()

    def look(self, picture: WatchResponse) -> None:
        for node in picture.nodes:
            if not 0 <= node.report_age_s < float("inf"):  # it is not known under what limits it works
                continue
            capped = _capped(node)
            if self._said.get(node.name) is not capped and self._offer(CapsSeen(node.name, capped)):
                self._said[node.name] = capped


def _capped(node: Node) -> bool:
    """By what is in force, whoever has set it: granted alone holds nobody back outside auto. Locked clocks look the same."""
    return node.enforced_w < node.default_w - SAME_W or node.clock_hz > 0
