"""A rack that is down is one alert, not forty: how it is known, and which alerts it explains."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gpuwarden.controller.power.hostlist import BadHostlist, expand
from gpuwarden.controller.record import NodeRecord
from gpuwarden.core.config import option

FEWEST_SILENT = 2
SILENT_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class RackConfig:
    """Nodes that go down together: a rack, a switch, a power shelf."""

    name: str = option("name of the rack, in alerts")
    nodes: tuple[str, ...] = option("its nodes, as in a domain's classes")

    def problems(self) -> Iterator[str]:
        """What the types cannot say."""
        try:
            if len(list(expand(self.nodes))) < FEWEST_SILENT:
                yield f"nodes: are fewer than {FEWEST_SILENT}"
        except BadHostlist as why:
            yield f"nodes: {why}"


def silent(rack: RackConfig, nodes: Iterable[NodeRecord], now_s: float, stale_s: float) -> tuple[int, int]:
    """(nodes that have spoken before and are silent now, nodes of the rack)."""
    names = set(expand(rack.nodes))
    members = [node for node in nodes if node.name in names]
    return sum(node.report is not None and not node.live(now_s, stale_s) for node in members), len(members)


def down(silent_count: int, node_count: int) -> bool:
    return silent_count >= max(FEWEST_SILENT, SILENT_SHARE * node_count)
