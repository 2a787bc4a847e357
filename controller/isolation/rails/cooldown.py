"""What was taken out again and again stays out longer each time."""

from typing import Final

from gpuwarden.controller.isolation.facts import Facts
from gpuwarden.controller.isolation.rails.strikes import strikes_of
from gpuwarden.controller.isolation.records import WishKind
from gpuwarden.controller.isolation.wish import Objection, Wish, wait

FIRST_S: Final = 900.0


def objection(wish: Wish, facts: Facts) -> Objection | None:
    if wish.kind is not WishKind.RESUME or wish.by:
        return None
    past = facts.past(wish.node)
    isolated_s = past.would_have_s if wish.shadow else past.isolated_s
    stay_s = FIRST_S * 2 ** max(0, strikes_of(wish.node, facts) - 1)
    if isolated_s and (left_s := isolated_s[-1] + stay_s - facts.now_s) > 0:
        return wait(f"it stays out for {stay_s / 60:.0f} min, {left_s / 60:.0f} more")
    return None
