"""What a person has said no to, by a reject or by giving the node back, is not brought up again; a new finding is."""

from gpuwarden.controller.isolation.facts import Facts
from gpuwarden.controller.isolation.signals import Signal, Sort
from gpuwarden.controller.isolation.wish import NoEvidence


def dropped(signal: Signal, sort: Sort, facts: Facts) -> NoEvidence | None:
    return NoEvidence("a person has said no to it") if signal.id in facts.past(signal.node).overruled else None
