"""Slow because capped is no fault, and least of all when the cap is ours."""

from gpuwarden.controller.isolation.facts import Facts
from gpuwarden.controller.isolation.signals import Signal, Sort
from gpuwarden.controller.isolation.wish import NoEvidence


def dropped(signal: Signal, sort: Sort, facts: Facts) -> NoEvidence | None:
    if not sort.slowness:
        return None
    capped = facts.was_capped(signal.node, signal.since_s)
    if capped is None:
        return NoEvidence("it is not known whether our own power cap slowed it as it began")
    return NoEvidence("our own power cap slows it") if capped else None
