"""While a job starts, checkpoints, evaluates or ends it stands still without being ill: its behaviour is no evidence then.

One that has written a checkpoint since it runs has started. Once the node is out the judgement was made: the job may well be writing the checkpoint that it was asked for.
"""

from typing import Final

from gpuwarden.controller.isolation.facts import Facts
from gpuwarden.controller.isolation.lifecycle import OUT
from gpuwarden.controller.isolation.records import Activity
from gpuwarden.controller.isolation.signals import Nature, Signal, Sort
from gpuwarden.controller.isolation.wish import NoEvidence

START_S: Final = 600.0  # torchrun's rendezvous alone may take so long (join timeout)
ACTIVITY_S: Final = 1800.0  # longer than that it is stuck in it
_STILL: Final = (Activity.STARTING, Activity.CHECKPOINTING, Activity.EVALUATING, Activity.FINALIZING)


def dropped(signal: Signal, sort: Sort, facts: Facts) -> NoEvidence | None:
    if (not sort.behaviour and sort.nature is not Nature.HINT) or facts.state(signal.node) in OUT:
        return None
    for job in facts.running_on(signal.node):
        past = facts.jobs.get(job.job)
        if past is None or (facts.now_s - past.running_since_s < START_S and past.checkpointed_s <= past.running_since_s):
            return NoEvidence(f"job {job.job} has just started")
        if past.activity in _STILL and facts.now_s - past.activity_since_s < ACTIVITY_S:
            return NoEvidence(f"job {job.job} is {past.activity.value}")
    return None
