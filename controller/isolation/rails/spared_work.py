"""A test takes the card from whoever computes on it: a job that still gets on is not tested for."""

from gpuwarden.controller.isolation.facts import Facts
from gpuwarden.controller.isolation.records import WishKind
from gpuwarden.controller.isolation.signals import Harm
from gpuwarden.controller.isolation.wish import Objection, Wish, wait


def objection(wish: Wish, facts: Facts) -> Objection | None:
    if wish.kind is WishKind.PROBE and wish.verdict.harm < Harm.STOPS and (jobs := facts.jobs_on(wish.node)):
        return wait(f"job {jobs[0]} still works on {wish.node}: it is tested once that has ended")
    return None
