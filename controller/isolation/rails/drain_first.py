"""A job is moved only once the scheduler has been seen to give it no more work there: else it comes back to the same node."""

from gpuwarden.controller.isolation.facts import Facts
from gpuwarden.controller.isolation.records import WishKind
from gpuwarden.controller.isolation.wish import Objection, Wish, wait
from gpuwarden.controller.schedulers.scheduler import Availability


def objection(wish: Wish, facts: Facts) -> Objection | None:
    if wish.kind not in (WishKind.CHECKPOINT, WishKind.REQUEUE) or wish.case.shadow:
        return None
    node = facts.node(wish.node)
    if node is None or node.availability is Availability.AVAILABLE or node.reason != wish.case.reason:
        return wait(f"{wish.node} has not been seen drained for our reason yet")
    return None
