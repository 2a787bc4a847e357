"""A job is moved only once the scheduler has been seen to give it no more work there: else it comes back to the same node."""

from gpuwarden.controller.isolation.facts import Facts
from gpuwarden.controller.isolation.lifecycle import State
from gpuwarden.controller.isolation.records import WishKind
from gpuwarden.controller.isolation.wish import Objection, Wish, wait
from gpuwarden.controller.schedulers.scheduler import Availability


def objection(wish: Wish, facts: Facts) -> Objection | None:
    if wish.kind not in (WishKind.CHECKPOINT, WishKind.REQUEUE):
        return None
    node = facts.node(wish.node)
    held = node is not None and node.availability is not Availability.AVAILABLE and node.reason == wish.case.reason
    if wish.case.state is State.CORDONED or not (held or wish.case.shadow):
        return wait(f"{wish.node} has not been seen drained for our reason yet", quiet=True)
    return None
