"""Drained is not fixed: what comes back has passed a test, or a person takes it on."""

from gpuwarden.controller.isolation.facts import Facts
from gpuwarden.controller.isolation.records import WishKind
from gpuwarden.controller.isolation.wish import Objection, Wish, ask


def objection(wish: Wish, facts: Facts) -> Objection | None:
    if wish.kind is WishKind.RESUME and not wish.by and wish.case.passed is None:
        return ask(f"{wish.node} has not passed a test since it was taken out")
    return None
