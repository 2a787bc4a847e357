"""A job is not requeued for ever: so often a day, and not when it gets no further from one time to the next."""

from typing import Final

from gpuwarden.controller.isolation.facts import Facts
from gpuwarden.controller.isolation.records import WishKind
from gpuwarden.controller.isolation.wish import Objection, Wish, never

WINDOW_S: Final = 86_400.0
NO_PROGRESS: Final = 3  # NVRx stops after as many cycles without progress


def objection(wish: Wish, facts: Facts) -> Objection | None:
    past = facts.jobs.get(wish.job)
    if wish.kind is not WishKind.REQUEUE or past is None:
        return None
    recent = [restart for restart in facts.restarts(wish.job, shadow=wish.shadow) if facts.now_s - restart.at_s < WINDOW_S and restart.restarts != wish.restarts]
    if len(recent) >= facts.config.restarts_most:
        return never(f"job {wish.job} was requeued {len(recent)} times in 24 h: not again without a person")
    steps = [restart.step for restart in recent[-NO_PROGRESS:]]
    if len(steps) == NO_PROGRESS and steps[0] is not None and set(steps) == {past.step}:
        return never(f"job {wish.job} has not got beyond step {past.step} in {NO_PROGRESS} restarts: do not requeue it")
    return None
