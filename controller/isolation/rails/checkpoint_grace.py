"""A job that still gets on is asked to checkpoint, and given a grace for it; a checkpoint that is being written is waited for. Both end."""

from gpuwarden.controller.isolation.facts import Facts
from gpuwarden.controller.isolation.records import Activity, EffectState, WishKind
from gpuwarden.controller.isolation.signals import Harm
from gpuwarden.controller.isolation.wish import Objection, Wish, wait


def objection(wish: Wish, facts: Facts) -> Objection | None:
    if wish.kind is not WishKind.REQUEUE:
        return None
    past, grace_s = facts.jobs.get(wish.job), facts.config.checkpoint_grace_s
    writing = past is not None and past.activity is Activity.CHECKPOINTING
    if past is not None and writing and facts.now_s - past.activity_since_s < grace_s:
        return wait(f"job {wish.job} is writing a checkpoint")
    if wish.verdict.harm is not Harm.SLOWS:
        return None
    asked = facts.effects.get(f"{WishKind.CHECKPOINT.value}/{wish.job}/{wish.restarts}")
    if asked is None:
        return wait(f"job {wish.job} has not been asked to checkpoint yet", quiet=True)
    if asked.state is EffectState.REFUSED or (past is not None and past.checkpointed_s > asked.at_s):
        return None
    if (left_s := asked.at_s + grace_s - facts.now_s) > 0:
        return wait(f"job {wish.job} has {left_s:.0f} s more to checkpoint", quiet=True)
    return None
