"""The unit of harm is the job: who does not use the faulty part is left to work."""

from gpuwarden.controller.isolation.facts import Facts
from gpuwarden.controller.isolation.records import WishKind
from gpuwarden.controller.isolation.wish import Objection, Wish, ask, never


def objection(wish: Wish, facts: Facts) -> Objection | None:
    if wish.kind not in (WishKind.CHECKPOINT, WishKind.REQUEUE) or len(facts.jobs_on(wish.node)) < 2 or wish.verdict.whole_node:
        return None
    named = {signal.job for signal in wish.verdict.signals if signal.job}
    users = set(facts.tenants.get(wish.node, {}).get(wish.verdict.part, ())) | named
    if wish.job in users:
        return None
    part = wish.verdict.part or "the accused part"
    if users:
        return never(f"job {wish.job} does not use {part}; {', '.join(sorted(users))} does")
    return ask(f"it is not known whether job {wish.job} uses {part} of {wish.node}")
