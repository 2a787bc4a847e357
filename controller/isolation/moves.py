"""Which move of a node follows from what is known: what the scheduler holds, what accuses it, and how much time has passed."""

from typing import Final, TypeAlias

from gpuwarden.controller.isolation.facts import Facts
from gpuwarden.controller.isolation.holder import Holder, holder_of
from gpuwarden.controller.isolation.lifecycle import OUT, WATCHED, Cause, State
from gpuwarden.controller.isolation.records import Case, EffectState, WishKind
from gpuwarden.controller.schedulers.scheduler import Availability, NodeTruth

RECOVERY_S: Final = 600.0  # nothing accuses it for so long: it is over
PROBATION_S: Final = 86_400.0
TEST_AGAIN_S: Final = 3600.0  # of a node that has failed a test
_KEPT: Final = tuple(state for state in OUT if state is not State.CORDONED)  # the scheduler was seen to hold it for us

Move: TypeAlias = tuple[Cause, str]


def next_move(case: Case, facts: Facts) -> Move | None:
    """None: it stays where it is."""
    if case.released_by and case.state in OUT:
        return _by_scheduler(case, facts)
    return _by_scheduler(case, facts) or _by_evidence(case) or _by_time(case, facts)


def seen_since(case: Case, facts: Facts) -> NodeTruth | None:
    """What the scheduler holds of the node, asked after our last word about it: an older truth tells of a world without that."""
    words = (facts.effects.get(f"{kind.value}/{case.id}") for kind in (WishKind.DRAIN, WishKind.RESUME))
    newest_s = max((effect.at_s for effect in words if effect is not None), default=facts.truth_asked_s - 1)
    return None if facts.lost or facts.truth_asked_s <= newest_s else facts.node(case.node)


def _by_scheduler(case: Case, facts: Facts) -> Move | None:
    node = seen_since(case, facts)
    if node is None:
        return None
    holder = holder_of(node)
    if case.state is State.FOREIGN:
        return None if holder is Holder.OTHERS else (Cause.LET_GO, "nobody else holds it any more")
    if holder is Holder.OTHERS:
        return Cause.HELD_BY_OTHERS, f"somebody else holds it: {node.reason}"
    if case.state is State.CORDONED and (case.shadow or node.reason == case.reason):
        return Cause.READ_BACK, "the scheduler gives it no more work, for our reason"
    return None if case.shadow else _of_ours(case, node)


def _of_ours(case: Case, node: NodeTruth) -> Move | None:
    available = node.availability is Availability.AVAILABLE
    if case.state in _KEPT and available:
        return Cause.RESUMED_BY_OTHERS, "somebody has given it back by hand: honoured"
    if case.state is State.DRAINING and _empty(node):
        return Cause.EMPTY, "nothing is left of any job"
    return None


def _empty(node: NodeTruth) -> bool:
    return node.availability is Availability.DRAINED or (node.availability is Availability.DOWN and not node.jobs)


def _refused(case: Case, facts: Facts) -> bool:
    """The drain was, and it still takes work."""
    drain, node = facts.effects.get(f"{WishKind.DRAIN.value}/{case.id}"), facts.node(case.node)
    return drain is not None and drain.state is EffectState.REFUSED and node is not None and node.availability is Availability.AVAILABLE


def _still_out(case: Case, facts: Facts) -> bool:
    node = facts.node(case.node)
    return node is None or node.availability is not Availability.AVAILABLE


def _by_evidence(case: Case) -> Move | None:
    accused = case.quiet_since_s is None
    match case.state:
        case State.DRAINED if case.ordered_by:
            return Cause.ORDERED, f"until {case.ordered_by} or another person gives it back"
        case State.DRAINED | State.TESTING if accused:
            return Cause.ACCUSED, "what accuses it still fires"
        case State.RETURNED if accused:
            return Cause.ACCUSED, "accused again while on probation"
    return None


def _by_time(case: Case, facts: Facts) -> Move | None:
    over = case.quiet_since_s is not None and facts.now_s - case.quiet_since_s >= RECOVERY_S and not case.ordered_by
    match case.state:
        case State.RETURNED if facts.now_s - case.entered_s >= PROBATION_S and (case.shadow or not _still_out(case, facts)):
            return Cause.PROBATION_OVER, "well for a day"
        case State.DRAINED | State.REPAIRING if over and facts.now_s - case.tested_s >= TEST_AGAIN_S:
            return Cause.EVIDENCE_OVER, "nothing accuses it any more: it is tested"
        case State.CORDONED | State.DRAINING if over and (case.shadow or _refused(case, facts)):
            return Cause.NEVER_TOUCHED, "nothing accuses it any more"
        case state if state in WATCHED and over and not case.failed_test:
            return Cause.EVIDENCE_OVER, "nothing accuses it any more"
    return None
