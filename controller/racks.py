"""A rack that is down is one alert, not forty: how it is known, and which alerts it explains."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from gpuwarden.controller.power.hostlist import BadHostlist, expand
from gpuwarden.controller.power.keeper import Timing
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


@dataclass(frozen=True, slots=True)
class Rack:
    """A rack as it lives."""

    name: str
    nodes: tuple[NodeRecord, ...]

    def silent(self, now_s: float, timing: Timing, listened_s: float, spared: Callable[[str], bool]) -> tuple[int, int]:
        """(silent nodes, nodes), but for the `spared`. One never heard is silent once we have listened for as long as it takes."""
        nodes = [node for node in self.nodes if not spared(node.name)]
        quiet = [node for node in nodes if not node.live(now_s, timing.stale_s)]
        return sum(node.report is not None or listened_s >= timing.learn_s for node in quiet), len(nodes)


def racks_of(configs: Iterable[RackConfig], nodes: Mapping[str, NodeRecord]) -> tuple[Rack, ...]:
    """`nodes` has those of all domains."""
    return tuple(Rack(config.name, tuple(nodes[name] for name in expand(config.nodes))) for config in configs)


def down(silent_count: int, node_count: int) -> bool:
    return silent_count >= max(FEWEST_SILENT, SILENT_SHARE * node_count)
