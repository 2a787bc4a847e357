"""What Prometheus is told of the cluster: the newest snapshot in numbers. Nodes have their own exporters."""

from typing import Final

from prometheus_client import Gauge

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


def show(snapshot: WatchResponse) -> None:
    """Sets all of them."""
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
