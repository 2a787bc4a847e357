"""A job whose behaviour accuses now these nodes and then quite others is itself the suspect."""

from typing import Final

from gpuwarden.controller.isolation.facts import Facts
from gpuwarden.controller.isolation.signals import Signal, Sort

WINDOW_S: Final = 4 * 3600.0


def dropped(signal: Signal, sort: Sort, facts: Facts) -> str:
    if not sort.behaviour:
        return ""
    for job in (signal.job,) if signal.job else facts.jobs_on(signal.node):
        past = facts.jobs.get(job)
        for restart in past.by_us if past is not None else ():
            if restart.accused and signal.node not in restart.accused and facts.now_s - restart.at_s < WINDOW_S:
                return f"job {job} failed on {', '.join(restart.accused)} before: it is itself the suspect"
    return ""
