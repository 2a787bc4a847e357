"""XID 13, 31, 43, 45 and their like are mostly the program's own: no card is taken out for them."""

from gpuwarden.controller.isolation.facts import Facts
from gpuwarden.controller.isolation.signals import Nature, Signal, Sort
from gpuwarden.controller.isolation.wish import NoEvidence


def dropped(signal: Signal, sort: Sort, facts: Facts) -> NoEvidence | None:
    return NoEvidence("mostly the application's own") if sort.nature is Nature.APPLICATION else None
