"""What an operator does while all runs."""

from collections.abc import Callable
from typing import Final

from gpuwarden.controller.events import SetBudget, SetMode
from gpuwarden.proto.lease_pb2 import Mode
from gpuwarden.sim.safety.row import Row
from gpuwarden.sim.safety.site import ROOT

Heal = Callable[[], None]
SPARE: Final = 1.01  # above the least: no budget is below the floors, a dead and a hung node included
KEPT_S: Final = 2.0  # after the last lease from before: cards have settled, however late limiters look


def budget_lowered(row: Row) -> Heal | None:
    """Once what was granted before has ended, the row is judged by the budget as if it were its rating."""
    domain, top = row.site.domain, len(row.site.elements) - 1
    hung_w = max(made.draw_w(made.gpus * made.default_w) - made.draw_w(made.gpus * made.floor_w) for made in domain.classes)
    least_w = SPARE * (domain.floors_w() + hung_w)
    if not row.head.answers or least_w >= domain.rating_w:
        return None
    budget_w, raised = row.chance.uniform(least_w, domain.rating_w), [False]
    _set_budget(row, budget_w)

    def judge() -> None:
        if not raised[0]:
            row.breakers.rating_w[top] = budget_w

    def heal() -> None:
        raised[0], row.breakers.rating_w[top] = True, domain.rating_w
        _set_budget(row, domain.rating_w)

    row.time.after(row.site.timing.lease_s + row.pace.tick_s + row.pace.settle_s + KEPT_S, judge)
    return heal


def _set_budget(row: Row, budget_w: float) -> None:
    row.head.hear(SetBudget(token=0, actor="operator", request_id="", domain=ROOT, budget_w=budget_w, validate_only=False))


def mode_refused(row: Row) -> Heal | None:
    """Told that the row may trip outside auto, he thinks better of it. If that were done, limits would be at the default."""
    mode = row.chance.choice([Mode.MODE_OBSERVE, Mode.MODE_NOTIFY])
    row.head.hear(SetMode(token=0, actor="operator", request_id="", domain=ROOT, mode=mode, force=False, validate_only=False))
    return lambda: None
