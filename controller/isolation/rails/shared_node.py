"""Several jobs on one node, and only a part of it is bad: whether all of them have to make way is a person's to say."""

from gpuwarden.controller.isolation.facts import Facts
from gpuwarden.controller.isolation.records import WishKind
from gpuwarden.controller.isolation.wish import Objection, Wish, ask


def objection(wish: Wish, facts: Facts) -> Objection | None:
    jobs = facts.jobs_on(wish.node)
    if wish.kind is WishKind.DRAIN and len(jobs) > 1 and not wish.verdict.whole_node:
        return ask(f"{len(jobs)} jobs share {wish.node}, and only a part of it is accused")
    return None
