"""Many nodes at once are not many faults: it is what they share, or what was installed on all of them."""

from collections.abc import Collection
from typing import Final

from gpuwarden.controller.isolation.facts import Facts
from gpuwarden.controller.isolation.lifecycle import State
from gpuwarden.controller.isolation.records import WishKind
from gpuwarden.controller.isolation.wish import Objection, Wish, latch
from gpuwarden.controller.power.hostlist import expand

WINDOW_S: Final = 900.0
SHARING: Final = 3  # nodes of one switch, rack or shelf
ALIKE: Final = 4  # nodes with the same finding, wherever they are
_NOT_ACCUSED: Final = (State.HEALTHY, State.FOREIGN, State.RETURNED)


def objection(wish: Wish, facts: Facts) -> Objection | None:
    if wish.kind is not WishKind.DRAIN or wish.by:
        return None
    since_s = max(facts.now_s - WINDOW_S, facts.reset_s("correlated", shadow=wish.shadow))
    accused = {node: case for node, case in facts.cases.items() if case.opened_s > since_s and case.state not in _NOT_ACCUSED}
    for shared in facts.config.shared:
        hit = sorted(accused.keys() & set(expand(shared.nodes)))
        if wish.node in hit and len(hit) >= SHARING:
            return latch(f"{_listed(hit)} of {shared.name} are accused within {WINDOW_S / 60:.0f} min: look at {shared.name}")
    for kind in sorted({signal.kind for signal in wish.verdict.signals}):
        hit = sorted(node for node, case in accused.items() if any(signal.kind == kind for signal in case.signals))
        if len(hit) >= ALIKE:
            return latch(f"{_listed(hit)} all have {kind} within {WINDOW_S / 60:.0f} min: look at what was installed or changed on all of them")
    return None


def _listed(nodes: Collection[str]) -> str:
    return ", ".join(nodes)
