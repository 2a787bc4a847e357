"""Findings that come one after the other about one job make one requeue: it is not stopped again before it could have got on."""

from typing import Final

from gpuwarden.controller.isolation.facts import Facts
from gpuwarden.controller.isolation.records import WishKind
from gpuwarden.controller.isolation.wish import Objection, Wish, wait

WINDOW_S: Final = 300.0


def objection(wish: Wish, facts: Facts) -> Objection | None:
    restarts = [one for one in facts.restarts(wish.job, shadow=wish.shadow) if one.restarts != wish.restarts]
    if wish.kind is WishKind.REQUEUE and restarts and (ago_s := facts.now_s - restarts[-1].at_s) < WINDOW_S:
        return wait(f"job {wish.job} was requeued {ago_s:.0f} s ago")
    return None
