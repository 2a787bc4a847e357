"""One restart owner for each job: where torchrun, JobSet or the scheduler starts it anew by itself, we wait until that has given up."""

from typing import Final

from gpuwarden.controller.isolation.facts import Facts
from gpuwarden.controller.isolation.records import WishKind
from gpuwarden.controller.isolation.wish import Objection, Wish, wait

PATIENCE_S: Final = 900.0  # NCCL's watchdog needs 10 min to see a hang, torchrun's rendezvous some more


def objection(wish: Wish, facts: Facts) -> Objection | None:
    past = facts.jobs.get(wish.job)
    if wish.kind not in (WishKind.CHECKPOINT, WishKind.REQUEUE) or past is None or not past.owner or past.gave_up:
        return None
    if facts.now_s - wish.case.entered_s < PATIENCE_S:
        return wait(f"{past.owner} starts job {wish.job} anew by itself, and has not given up")
    return None
