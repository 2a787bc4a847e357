"""A node that was out too often, or failed its tests, does not come back by itself: Meta's lemons are few, and cause much of the loss."""

from typing import Final

from gpuwarden.controller.isolation.facts import Facts
from gpuwarden.controller.isolation.lifecycle import Cause
from gpuwarden.controller.isolation.records import WishKind
from gpuwarden.controller.isolation.wish import Objection, Wish, never

WINDOW_S: Final = 30 * 86_400.0


def objection(wish: Wish, facts: Facts) -> Objection | None:
    count = strikes_of(wish.node, facts)
    if wish.kind is WishKind.RESUME and not wish.by and count >= facts.config.strikes_most:
        return never(f"it was taken out, or failed a test after that, {count} times in 30 days: replace what is bad in it", Cause.STRIKES_SPENT)
    return None


def strikes_of(node: str, facts: Facts) -> int:
    past = facts.past(node)
    return sum(facts.now_s - at_s < WINDOW_S for at_s in (*past.isolated_s, *past.failed_tests_s))
