"""What holds the automation back. A rail is one file here and one line in one of the two tables, and docs/isolation.md shows both."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, TypeAlias

from gpuwarden.controller.isolation.facts import Facts
from gpuwarden.controller.isolation.rails import (
    application,
    blast_radius,
    capped,
    checkpoint_grace,
    cooldown,
    correlated,
    drain_first,
    immunity,
    job_itself,
    job_kind,
    latched,
    offered,
    one_effect,
    one_requeue,
    opt_out,
    overruled,
    ownership,
    restart_budget,
    restart_owner,
    retested,
    scheduler_known,
    second_opinion,
    shared_node,
    spared_work,
    spares,
    strikes,
    telemetry_loss,
    uses_part,
)
from gpuwarden.controller.isolation.signals import Signal, Sort
from gpuwarden.controller.isolation.wish import NoEvidence, Objection, Wish

SignalRail: TypeAlias = Callable[[Signal, Sort, Facts], NoEvidence | None]
ActionRail: TypeAlias = Callable[[Wish, Facts], Objection | None]

# What is no evidence, whoever says it.
SIGNAL_RAILS: Final[Mapping[str, SignalRail]] = MappingProxyType({
    "telemetry_loss": telemetry_loss.dropped,
    "application": application.dropped,
    "capped": capped.dropped,
    "immunity": immunity.dropped,
    "job_itself": job_itself.dropped,
    "overruled": overruled.dropped,
})

# What is not done, however good the evidence. In this order; the first that does not merely ask ends it.
ACTION_RAILS: Final[Mapping[str, ActionRail]] = MappingProxyType({
    "one_effect": one_effect.objection,
    "scheduler_known": scheduler_known.objection,
    "opt_out": opt_out.objection,
    "ownership": ownership.objection,
    "second_opinion": second_opinion.objection,
    "latched": latched.objection,
    "correlated": correlated.objection,
    "blast_radius": blast_radius.objection,
    "shared_node": shared_node.objection,
    "spares": spares.objection,
    "offered": offered.objection,
    "spared_work": spared_work.objection,
    "strikes": strikes.objection,
    "cooldown": cooldown.objection,
    "retested": retested.objection,
    "drain_first": drain_first.objection,
    "uses_part": uses_part.objection,
    "job_kind": job_kind.objection,
    "restart_owner": restart_owner.objection,
    "one_requeue": one_requeue.objection,
    "restart_budget": restart_budget.objection,
    "checkpoint_grace": checkpoint_grace.objection,
})
