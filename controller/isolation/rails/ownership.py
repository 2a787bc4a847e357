"""Only what is nobody's is taken, and only what is ours is given back: by the exact reason, and by whose word it was taken."""

from gpuwarden.controller.isolation.facts import Facts
from gpuwarden.controller.isolation.holder import Holder, holder_of
from gpuwarden.controller.isolation.records import WishKind
from gpuwarden.controller.isolation.wish import Objection, Wish, never


def objection(wish: Wish, facts: Facts) -> Objection | None:
    node = facts.node(wish.node)
    if node is None:
        return never(f"the scheduler knows no node {wish.node}")
    if wish.kind not in (WishKind.DRAIN, WishKind.RESUME):
        return None
    ours = wish.shadow or node.reason == wish.case.reason
    if holder_of(node) is not Holder.NOBODY and not ours:
        return never(f"{holder_of(node).value} holds it: {node.reason}")
    if wish.kind is WishKind.RESUME and wish.case.ordered_by and not wish.by:
        return never(f"{wish.case.ordered_by} has cordoned it, and a person gives it back")
    return None
