"""A job whose behaviour accuses now these nodes and then quite others is itself the suspect."""

from typing import Final

from gpuwarden.controller.isolation.facts import Facts
from gpuwarden.controller.isolation.signals import Signal, Sort
from gpuwarden.controller.isolation.wish import NoEvidence

WINDOW_S: Final = 4 * 3600.0


def dropped(signal: Signal, sort: Sort, facts: Facts) -> NoEvidence | None:
    if not sort.behaviour:
        return None
    for job in (signal.job,) if signal.job else facts.jobs_on(signal.node):
        past = facts.jobs.get(job)
        for restart in past.by_us if past is not None else ():
            later = restart.at_s < signal.since_s and facts.now_s - restart.at_s < WINDOW_S
            if later and restart.accused and signal.node not in restart.accused:
                return NoEvidence(f"job {job} failed on {', '.join(restart.accused)} before: it is itself the suspect", tell=True)
    return None
