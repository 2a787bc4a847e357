"""A node that the operator has taken out of our hands is not touched."""

from gpuwarden.controller.isolation.facts import Facts
from gpuwarden.controller.isolation.records import WishKind
from gpuwarden.controller.isolation.wish import Objection, Wish, wait


def objection(wish: Wish, facts: Facts) -> Objection | None:
    if wish.kind in (WishKind.DRAIN, WishKind.PROBE) and wish.node in facts.opted_out and not wish.by:
        return wait(f"{wish.node} is opted out")
    return None
