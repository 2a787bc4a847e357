"""A node's agent runs what its own configuration offers and nothing else: a test that it does not offer, or while nothing is heard of it, is not asked for."""

from gpuwarden.controller.isolation.facts import Facts
from gpuwarden.controller.isolation.records import WishKind
from gpuwarden.controller.isolation.wish import Objection, Wish, wait


def objection(wish: Wish, facts: Facts) -> Objection | None:
    if wish.kind is not WishKind.PROBE or facts.offered(wish.node) is not None:
        return None
    there = ", ".join(one.name for one in facts.probes.get(wish.node, ()))
    return wait(f"{wish.node}'s agent offers no test {wish.probe!r}, " + (f"it offers {there}" if there else "or is not in session"))
