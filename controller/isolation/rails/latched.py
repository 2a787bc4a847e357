"""What has stopped the automation stops all of it until a person has looked. Giving back is never stopped."""

from gpuwarden.controller.isolation.facts import Facts
from gpuwarden.controller.isolation.records import WishKind
from gpuwarden.controller.isolation.wish import Objection, Wish, wait


def objection(wish: Wish, facts: Facts) -> Objection | None:
    if wish.kind is WishKind.RESUME or wish.by:
        return None
    if latches := facts.latches(shadow=wish.shadow):
        return wait(f"the automation has stopped ({latches[0].id}): {latches[0].sentence}")
    return None
