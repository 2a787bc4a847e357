"""What befalls a simulated row: a new fault is one function in one of these files, and one line in the table.

A function strikes and returns how to heal it, or None where it cannot strike now. No fault goes beyond what the operator declares: nodes
that do not obey are excused first, of which `Excuses` allows no more under any limit than are declared dead.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from gpuwarden.sim.safety.faults import heads, links, nodes, operators, supply
from gpuwarden.sim.safety.row import Row

Heal = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Fault:
    """Faults of one `place` do not strike together: there is one controller to kill, one weather, one thing at a time on a node. One of
    `ALONE` strikes where nothing else is amiss, and nothing else strikes while it lasts."""

    strike: Callable[[Row], Heal | None]
    place: str
    lasts_s: tuple[float, float]


ALONE: Final = "alone"
FAULTS: Final[Mapping[str, Fault]] = MappingProxyType({
    "controller killed": Fault(heads.killed, "head", (0.3, 20.0)),
    "controller hung": Fault(heads.hung, "head", (0.5, 15.0)),
    "crash loop": Fault(heads.crash_loop, "head", (10.0, 40.0)),
    "two controllers": Fault(heads.two, "head", (10.0, 60.0)),
    "older ledger": Fault(heads.older_ledger, "head", (1.0, 5.0)),
    "partition": Fault(links.partition, "link", (1.0, 30.0)),
    "messages lost": Fault(links.lost, "weather", (5.0, 60.0)),
    "messages late": Fault(links.late, "weather", (5.0, 60.0)),
    "messages repeated": Fault(links.repeated, "weather", (5.0, 60.0)),
    "messages reordered": Fault(links.reordered, "weather", (5.0, 60.0)),
    "agent hung": Fault(links.agent_hung, "link", (1.0, 30.0)),
    "agent lying": Fault(links.agent_lying, "link", (5.0, 60.0)),
    "Kafka gone": Fault(heads.kafka_gone, "kafka", (5.0, 60.0)),
    "clock skew": Fault(nodes.clock_skew, "clock", (5.0, 60.0)),
    "limiter killed": Fault(nodes.limiter_killed, "node", (1.5, 5.0)),
    "limiter dead": Fault(nodes.limiter_dead, "node", (5.0, 60.0)),
    "limits reset by others": Fault(nodes.limits_reset, "node", (3.0, 10.0)),
    "limits lowered by others": Fault(nodes.limits_lowered, "node", (3.0, 10.0)),
    "rack reboots": Fault(nodes.rack_reboots, "node", (15.0, 60.0)),
    "reboots into work": Fault(nodes.reboots_into_work, "node", (5.0, 20.0)),
    "driver reloaded": Fault(nodes.driver_reloaded, "node", (2.0, 8.0)),
    "driver hung": Fault(nodes.driver_hung, "node", (2.0, 60.0)),
    "foreign load": Fault(supply.foreign_load, "supply", (5.0, 60.0)),
    "feed lost": Fault(supply.feed_lost, "feed", (5.0, 120.0)),
    "UPS on battery": Fault(supply.on_battery, "feed", (5.0, 120.0)),
    "brief restart": Fault(heads.brief_restart, ALONE, heads.BRIEF_LASTS_S),
    "budget lowered": Fault(operators.budget_lowered, "head", (10.0, 90.0)),
    "mode refused": Fault(operators.mode_refused, "head", (1.0, 5.0)),
})
