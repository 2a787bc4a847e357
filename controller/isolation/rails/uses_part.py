"""The unit of harm is the job: who does not use the faulty part is left to work."""

from gpuwarden.controller.isolation.facts import Facts
from gpuwarden.controller.isolation.records import WishKind
from gpuwarden.controller.isolation.wish import Objection, Wish, ask, wait


def objection(wish: Wish, facts: Facts) -> Objection | None:
    if wish.kind not in (WishKind.CHECKPOINT, WishKind.REQUEUE) or wish.verdict.whole_node:
        return None
    if len({*wish.case.jobs, *facts.jobs_on(wish.node)}) < 2:  # the others may have gone by now
        return None
    named = {signal.job for signal in wish.verdict.signals if signal.job}
    users = set(facts.tenants.get(wish.node, {}).get(wish.verdict.part, ())) | named
    if wish.job in users:
        return None
    part = wish.verdict.part or "the accused part"
    if users:
        return wait(f"job {wish.job} does not use {part}, job {' and job '.join(sorted(users))} does")
    return ask(f"it is not known whether job {wish.job} uses {part} of {wish.node}")
