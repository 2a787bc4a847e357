"""Nobody is condemned on one witness: two independent ones, a test that failed, or an operator's word. Nor is a job moved on one."""

from gpuwarden.controller.isolation.facts import Facts
from gpuwarden.controller.isolation.records import WishKind
from gpuwarden.controller.isolation.wish import Objection, Wish, wait


def objection(wish: Wish, facts: Facts) -> Objection | None:
    if wish.kind in (WishKind.DRAIN, WishKind.CHECKPOINT, WishKind.REQUEUE) and not wish.verdict.sure:
        return wait(f"not sure enough; surer: {wish.verdict.surer}")
    return None
