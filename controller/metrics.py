"""What Prometheus is told of the cluster: the newest snapshot in numbers. Nodes have their own exporters."""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from prometheus_client import REGISTRY, Gauge
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from gpuwarden.controller.isolation.lifecycle import State
from gpuwarden.proto.control_pb2 import NodeState, PowerDomain, WatchResponse
from gpuwarden.proto.lease_pb2 import Mode

_DOMAIN: Final = ("domain",)
POWER: Final = Gauge("gpuwarden_domain_power_watts", "Estimated draw", _DOMAIN)
COUNTED: Final = Gauge("gpuwarden_domain_counted_watts", "Worst draw of all that is granted, dead nodes included", _DOMAIN)
BUDGET: Final = Gauge("gpuwarden_domain_budget_watts", "What the domain may draw", _DOMAIN)
RATING: Final = Gauge("gpuwarden_domain_rating_watts", "What the breaker carries for ever", _DOMAIN)
HEAT: Final = Gauge("gpuwarden_domain_heat_ratio", "Heat of the domain's hottest limit, 0 cold to 1 trip", _DOMAIN)
AUTO: Final = Gauge("gpuwarden_domain_auto", "1 if caps are set, 0 if they are only told", _DOMAIN)
_LIMIT: Final = ("domain", "limit")
LIMIT_POWER: Final = Gauge("gpuwarden_limit_power_watts", "Upper estimate of what a limit carries, after a contingency what it would", _LIMIT)
LIMIT_COUNTED: Final = Gauge("gpuwarden_limit_counted_watts", "Worst draw of all that is granted under a limit, dead nodes included", _LIMIT)
LIMIT_RATING: Final = Gauge("gpuwarden_limit_rating_watts", "What a limit carries for ever; of the domain's own its budget", _LIMIT)
LIMIT_HEAT: Final = Gauge("gpuwarden_limit_heat_ratio", "A limit's heat, 0 cold to 1 trip", _LIMIT)
LIMIT_FOREIGN: Final = Gauge("gpuwarden_limit_foreign_watts", "What a limit carries beside nodes and declared base, as meters tell", _LIMIT)
METERED: Final = Gauge("gpuwarden_meter_power_watts", "What a limit's meter shows", _LIMIT)
METER_AGE: Final = Gauge("gpuwarden_meter_age_seconds", "How old that is", _LIMIT)
METER_SURPLUS: Final = Gauge("gpuwarden_meter_surplus_watts", "What a meter shows beyond its nodes' sensors and the declared base", _LIMIT)
GAIN: Final = Gauge("gpuwarden_sensor_gain_ratio", "True watts for one that the sensors of a node, or class, show, where a meter has taught it", [*_LIMIT, "of"])
NODES: Final = Gauge("gpuwarden_nodes", "Nodes by state", ["state"])
FIRING: Final = Gauge("gpuwarden_findings_firing", "Findings that fire now")
ISOLATED: Final = Gauge("gpuwarden_isolation_nodes", "Nodes by where isolation has them; those that are simply healthy are in none", ["state"])
QUESTIONS: Final = Gauge("gpuwarden_isolation_questions", "Prepared acts that wait for a person")
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
    if snapshot.HasField("isolation"):
        where = Counter(node.state for node in snapshot.isolation.nodes if not node.would_have)
        for one in State:
            ISOLATED.labels(one.value).set(where[one.value])
        QUESTIONS.set(sum(not question.would_have for question in snapshot.isolation.questions))


def _show_domain(domain: PowerDomain) -> None:
    for gauge, value in (
        (POWER, domain.power_w), (COUNTED, domain.counted_w), (BUDGET, domain.budget_w), (RATING, domain.rating_w),
        (HEAT, domain.heat_ratio), (AUTO, float(domain.mode == Mode.MODE_AUTO)),
    ):
        gauge.labels(domain.name).set(value)
    for limit in domain.limits:
        for gauge, value in (
            (LIMIT_POWER, limit.power_w), (LIMIT_COUNTED, limit.counted_w), (LIMIT_RATING, limit.rating_w), (LIMIT_HEAT, limit.heat_ratio),
            (LIMIT_FOREIGN, limit.foreign_w),
        ):
            gauge.labels(domain.name, limit.name).set(value)
        if limit.HasField("meter"):
            for gauge, value in ((METERED, limit.meter.power_w), (METER_AGE, limit.meter.age_s), (METER_SURPLUS, limit.meter.surplus_w)):
                gauge.labels(domain.name, limit.name).set(value)
            for gain in limit.meter.gains:
                if gain.known:
                    GAIN.labels(domain.name, limit.name, gain.of).set(gain.mean)
