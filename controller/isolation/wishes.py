"""What should be done about a case, were there no rails: it follows from its state and from what the scheduler holds."""

from collections.abc import Iterator

from gpuwarden.controller.isolation.evidence import Certainty, Verdict
from gpuwarden.controller.isolation.facts import Facts
from gpuwarden.controller.isolation.lifecycle import OUT, State
from gpuwarden.controller.isolation.records import Case, EffectState, Mode, WishKind
from gpuwarden.controller.isolation.signals import Harm
from gpuwarden.controller.isolation.wish import Wish
from gpuwarden.controller.schedulers.scheduler import Phase

TEST_AGAIN_S = 3600.0  # of a suspect node that has passed
OFFER_WAIT_S = 600.0  # for an agent to be there: after a repair a node takes so long to boot


def wishes_of(case: Case, verdict: Verdict, facts: Facts) -> Iterator[Wish]:
    if case.released_by and case.state in OUT:
        yield _wish(WishKind.RESUME, case, verdict, facts, by=case.released_by)
        return
    match case.state:
        case State.SUSPECT | State.CONFIRMING:
            yield from _of_suspect(case, verdict, facts)
        case State.CORDONED:
            yield _wish(WishKind.DRAIN, case, verdict, facts, by=case.ordered_by)
            yield from _of_jobs(case, verdict, facts)
        case State.DRAINING:
            yield from _of_jobs(case, verdict, facts)
            yield from _of_moved_jobs(case, verdict, facts)
        case State.REPAIRING:
            yield from _of_moved_jobs(case, verdict, facts)
        case State.TESTING:
            yield from _of_tested(case, verdict, facts)
        case State.RETURNED:
            yield _wish(WishKind.RESUME, case, verdict, facts, by=case.released_by)
        case State.HEALTHY | State.FOREIGN | State.DRAINED | State.LEMON:
            return


def _of_suspect(case: Case, verdict: Verdict, facts: Facts) -> Iterator[Wish]:
    if not verdict.accuses:
        return
    due = case.state is State.SUSPECT and facts.now_s - case.tested_s >= TEST_AGAIN_S
    if due and verdict.certainty is Certainty.ONE_WITNESS and facts.wanted.get(case.node):
        yield _wish(WishKind.PROBE, case, verdict, facts)
    yield _wish(WishKind.DRAIN, case, verdict, facts, by=case.ordered_by)


def _of_jobs(case: Case, verdict: Verdict, facts: Facts) -> Iterator[Wish]:
    """Those that cannot go on, or not well, with the part. What can goes on to its end."""
    if verdict.harm is Harm.LATER:
        return
    for name in facts.jobs_on(case.node):
        job = facts.job(name)
        if job is not None and job.phase is Phase.RUNNING and case.node not in job.nodes:
            continue  # it has been started anew elsewhere, and only its end is left here
        restarts = job.restarts if job is not None else 0
        if verdict.harm is Harm.SLOWS:
            yield _wish(WishKind.CHECKPOINT, case, verdict, facts, name, restarts)
        yield _wish(WishKind.REQUEUE, case, verdict, facts, name, restarts)


def _of_moved_jobs(case: Case, verdict: Verdict, facts: Facts) -> Iterator[Wish]:
    """A job that waits to start again is kept off the node, also should somebody give the node back."""
    for effect in facts.effects.values():
        if effect.kind is WishKind.REQUEUE and effect.case == case.id and effect.state is EffectState.DONE:
            job = facts.job(effect.job)
            waits = job is not None and job.phase is Phase.PENDING and case.node not in job.excluded
            if effect.shadow or waits:
                yield _wish(WishKind.EXCLUDE, case, verdict, facts, effect.job, effect.restarts)


def _of_tested(case: Case, verdict: Verdict, facts: Facts) -> Iterator[Wish]:
    """Where nobody can test it, a person is asked."""
    untested = case.tested_s < case.entered_s and bool(facts.wanted.get(case.node))
    if untested:
        yield _wish(WishKind.PROBE, case, verdict, facts)
    if not untested or (facts.offered(case.node) is None and facts.now_s - case.entered_s >= OFFER_WAIT_S):
        yield _wish(WishKind.RESUME, case, verdict, facts)


def _wish(
    kind: WishKind, case: Case, verdict: Verdict, facts: Facts, job: str = "", restarts: int = 0, by: str = ""
) -> Wish:
    """An act rests on what was done before: where that was only "would have", so is this."""
    observed = facts.mode(case.node, kind.action_class) in (Mode.OBSERVE, Mode.NOTIFY) and not by
    return Wish(kind, case, verdict, case.shadow or observed, job, restarts, by, facts.wanted.get(case.node, "") if kind is WishKind.PROBE else "")
