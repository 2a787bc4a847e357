"""A test takes the card from whoever computes on it, and its memory: while a job is on the node only what the node's operator calls harmless is run."""

from gpuwarden.controller.isolation.facts import Facts
from gpuwarden.controller.isolation.records import WishKind
from gpuwarden.controller.isolation.wish import Objection, Wish, wait


def objection(wish: Wish, facts: Facts) -> Objection | None:
    if wish.kind is not WishKind.PROBE or not (jobs := facts.jobs_on(wish.node)):
        return None
    offered = facts.offered(wish.node)
    if offered is not None and offered.harmless:
        return None
    return wait(f"job {jobs[0]} is still on {wish.node}: it is tested once that has ended")
