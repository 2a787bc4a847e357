"""The picture of the cluster that is published once a second, drawn a part at each tick: of thousands of nodes at once it would hold a decision up."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Final

from gpuwarden.controller.alerts import Alerts
from gpuwarden.controller.lines import Lines
from gpuwarden.controller.power.keeper import Keeper
from gpuwarden.controller.view import complete, show_nodes
from gpuwarden.proto.control_pb2 import GetClusterResponse, WatchResponse

PUBLISH_S: Final = 0.95  # pictures are this far apart


class Picture:
    """Mutable: what of the next picture is drawn. `keepers` have every node."""

    def __init__(self, keepers: Sequence[Keeper]) -> None:
        self._keepers = keepers
        self._node_count = sum(len(keeper.nodes) for keeper in keepers)
        self._next = WatchResponse()
        self._firing = Counter[str]()
        self._published_s = -math.inf

    def tick(self, now_s: float, cluster: GetClusterResponse, alerts: Alerts, lines: Lines) -> WatchResponse | None:
        """Draws as much as the time that has passed tells; the picture once it is whole. `cluster` is filled in with the sums."""
        drawn = len(self._next.nodes)
        if not drawn:
            self._firing = alerts.firing_by_node()
        passed = min((now_s - self._published_s) / PUBLISH_S, 1.0)
        first, last = drawn, math.ceil(passed * self._node_count)
        for keeper in self._keepers:
            show_nodes(self._next, now_s, keeper, slice(max(first, 0), max(last, 0)), self._firing)
            first, last = first - len(keeper.nodes), last - len(keeper.nodes)
        if passed < 1.0:
            return None
        whole, self._next, self._published_s = self._next, WatchResponse(), now_s
        complete(whole, now_s, cluster, self._keepers, alerts, lines)
        return whole
