"""Slow because capped is no fault, and least of all when the cap is ours."""

from gpuwarden.controller.isolation.facts import Facts
from gpuwarden.controller.isolation.signals import Signal, Sort


def dropped(signal: Signal, sort: Sort, facts: Facts) -> str:
    return "our own power cap slows it" if sort.slowness and facts.was_capped(signal.node, signal.since_s) else ""
