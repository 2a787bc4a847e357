"""What Prometheus is told of the cluster: the newest snapshot in numbers. Nodes have their own exporters."""

from collections.abc import Iterator
from typing import Final

from prometheus_client import REGISTRY, Gauge
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from gpuwarden.proto.control_pb2 import NodeState, PowerDomain, WatchResponse
from gpuwarden.proto.lease_pb2 import Mode

_DOMAIN: Final = ("domain",)
POWER: Final = Gauge("gpuwarden_domain_power_watts", "Estimated draw", _DOMAIN)
COUNTED: Final = Gauge("gpuwarden_domain_counted_watts", "Worst draw of all that is granted, dead nodes included", _DOMAIN)
BUDGET: Final = Gauge("gpuwarden_domain_budget_watts", "What the domain may draw", _DOMAIN)
RATING: Final = Gauge("gpuwarden_domain_rating_watts", "What the breaker carries for ever", _DOMAIN)
HEAT: Final = Gauge("gpuwarden_domain_heat_ratio", "Breaker model's heat, 0 cold to 1 trip", _DOMAIN)
AUTO: Final = Gauge("gpuwarden_domain_auto", "1 if caps are set, 0 if they are only told", _DOMAIN)
NODES: Final = Gauge("gpuwarden_nodes", "Nodes by state", ["state"])
FIRING: Final = Gauge("gpuwarden_findings_firing", "Findings that fire now")
EPOCH: Final = Gauge("gpuwarden_controller_epoch", "Epoch of this controller's grants")


_COUNTED: Final = {
    "guard_trips": "Times that cards drew clearly more than their limit, since the limiter's start",
    "foreign_changes": "Limits that somebody else changed, since the limiter's start",
    "refusals": "Directives that the limiter would not obey, since its start",
    "driver_loads": "Loads of the driver that the limiter has seen, its first one included",
    "reports_refused": "Reports of this node that this controller would not take",
}


class _Limiters(Collector):
    """What the limiters count. They have no network, so it is told here; a limiter's restart begins at 0 again."""

    def __init__(self) -> None:
        self.newest = WatchResponse()

    def collect(self) -> Iterator[Metric]:
        nodes = self.newest.nodes
        for name, meaning in _COUNTED.items():
            family = CounterMetricFamily(f"gpuwarden_limiter_{name}", meaning, labels=["node"])
            for node in nodes:
                family.add_metric([node.name], getattr(node.counts, name))
            yield family


_LIMITERS: Final = _Limiters()
REGISTRY.register(_LIMITERS)


def show(snapshot: WatchResponse) -> None:
    """Sets all of them."""
    _LIMITERS.newest = snapshot
    for domain in snapshot.cluster.domains:
        _show_domain(domain)
    states = [node.state for node in snapshot.nodes]
    for state in NodeState.values()[1:]:
        NODES.labels(NodeState.Name(state).removeprefix("NODE_STATE_").lower()).set(states.count(state))
    FIRING.set(snapshot.cluster.firing_count)
    EPOCH.set(snapshot.cluster.epoch)


def _show_domain(domain: PowerDomain) -> None:
    for gauge, value in (
        (POWER, domain.power_w), (COUNTED, domain.counted_w), (BUDGET, domain.budget_w), (RATING, domain.rating_w),
        (HEAT, domain.heat_ratio), (AUTO, float(domain.mode == Mode.MODE_AUTO)),
    ):
        gauge.labels(domain.name).set(value)
