"""What should have come by now and has not: nobody waits in silence for a scheduler that said yes, or for a job that does not end."""

from collections.abc import Iterator
from typing import Final

from gpuwarden.controller.isolation.facts import Facts
from gpuwarden.controller.isolation.lifecycle import State
from gpuwarden.controller.isolation.records import Case, EffectState, WishKind
from gpuwarden.controller.schedulers.scheduler import Availability

SEEN_S: Final = 120.0  # some rounds of asking the scheduler
LEFT_S: Final = 600.0  # a teardown after a hang can itself hang (TensorRT-LLM#15612); the scheduler kills long before


def overdue(case: Case, facts: Facts) -> Iterator[tuple[str, str]]:
    """(what, sentence) for a person."""
    node = facts.node(case.node)
    if case.shadow or node is None or facts.lost:
        return
    waited_s = facts.now_s - case.entered_s
    if case.state is State.CORDONED and waited_s > SEEN_S:
        yield "read-back", f"{case.node} was to be drained {waited_s:.0f} s ago, and the scheduler does not show it"
    if case.state is State.RETURNED and waited_s > SEEN_S and node.availability is not Availability.AVAILABLE:
        yield "read-back", f"{case.node} was to be given back {waited_s:.0f} s ago, and the scheduler shows it {node.availability.value}"
    for effect in facts.effects.values():
        asked_s = facts.now_s - effect.at_s
        if effect.kind is WishKind.REQUEUE and effect.case == case.id and effect.state is EffectState.DONE and asked_s > LEFT_S and effect.job in node.jobs:
            yield f"left/{effect.job}", f"job {effect.job} was requeued {asked_s:.0f} s ago and is still on {case.node}: its processes do not end"
