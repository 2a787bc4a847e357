"""What may be requeued without asking: a batch job that runs and may be. Others wait, ask or are left alone; a card's strictest tenant speaks for all on it."""

from gpuwarden.controller.isolation.facts import Facts
from gpuwarden.controller.isolation.records import WishKind
from gpuwarden.controller.isolation.wish import Objection, Weight, Wish, ask, never, wait
from gpuwarden.controller.schedulers.scheduler import JobTruth, Kind, Phase


def objection(wish: Wish, facts: Facts) -> Objection | None:
    if wish.kind not in (WishKind.CHECKPOINT, WishKind.REQUEUE):
        return None
    job = facts.job(wish.job)
    if job is None:
        return wait(f"the scheduler tells nothing of job {wish.job}")
    return _of_phase(job) or _of_kind(job) or _of_tenants(wish, facts)


def _of_phase(job: JobTruth) -> Objection | None:
    match job.phase:
        case Phase.RUNNING:
            return None
        case Phase.SUSPENDED:
            return ask(f"job {job.job} is suspended")
        case Phase.HELD:
            return never(f"somebody holds job {job.job}")
        case Phase.PENDING | Phase.COMPLETING | Phase.ENDED:
            return wait(f"job {job.job} is {job.phase.value}", quiet=True)


def _of_kind(job: JobTruth) -> Objection | None:
    if not job.requeueable:
        return never(f"job {job.job} may not be requeued: its owner has to start it anew")
    match job.kind:
        case Kind.BATCH:
            return None
        case Kind.INTERACTIVE:
            return ask(f"somebody sits at job {job.job}")
        case Kind.ARRAY:
            return ask(f"job {job.job} is one of an array")
        case Kind.HETEROGENEOUS:
            return ask(f"job {job.job} is a part of one that starts as a whole")
        case Kind.BARE:
            return ask(f"nothing is known to start job {job.job} anew")
        case Kind.STATEFUL:
            return ask(f"job {job.job} has a state of its own")
        case Kind.LOCAL:
            return ask(f"job {job.job} keeps data on its nodes, which would be lost")


def _of_tenants(wish: Wish, facts: Facts) -> Objection | None:
    """MIG: several jobs on one card are one domain."""
    for other in facts.tenants.get(wish.node, {}).get(wish.verdict.part, ()):
        job = facts.job(other)
        strict = _of_kind(job) if job is not None and other != wish.job else None
        if strict is not None and strict.weight in (Weight.ASK, Weight.NEVER):
            return ask(f"it shares {wish.verdict.part} with job {other}, and {strict.why}")
    return None
