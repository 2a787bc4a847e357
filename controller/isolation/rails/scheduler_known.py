"""Where it is not known what the scheduler holds, nothing is done: not what it refused, not what somebody else has done meanwhile."""

from typing import Final

from gpuwarden.controller.isolation.facts import Facts
from gpuwarden.controller.isolation.wish import Objection, Wish, wait

STALE_S: Final = 60.0


def objection(wish: Wish, facts: Facts) -> Objection | None:
    if facts.lost:
        return wait(f"the scheduler is not known: {facts.lost}")
    if (age_s := facts.now_s - facts.truth_asked_s) > STALE_S:
        return wait(f"what the scheduler holds was last seen {age_s:.0f} s ago", quiet=True)
    return None
