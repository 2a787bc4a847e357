"""One line of the table: a fault done, everything that was seen meanwhile, and whether that is what was promised."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from services.stack import LEASE_S

from chaos.deaths import NO_CAP_CHANGES, UNCOVERED_AT_FIRST, Fault
from chaos.row import FLOOR_W, Row
from chaos.watch import OBEYED_WITHIN_S, SAME_W, Seen, Watch, boottime_s, granted, uncovered

BACK_WITHIN_S = 60.0
TAIL_S = 2.0
SETTLE_S = 15.0


@dataclass(frozen=True, slots=True)
class Line:
    """`wrong` is empty where all that was promised held."""

    fault: str
    unsafe_s: float  # from the fault until the last card was at its floor or under a grant that ran
    stale_obeyed: int  # looks at which a limit stood that no grant covered, beyond what is promised
    over_budget_s: float
    floor_after_s: float | None  # from the fault until some node was at its floor; None if none was
    cap_changes: int
    back_after_s: float
    wrong: list[str] = field(default_factory=list)


def judged(row: Row, watch: Watch, name: str, fault: Fault) -> Line:
    """Does it and looks. AssertionError if the row does not come back."""
    if name in NO_CAP_CHANGES:
        row.hold_load()
        time.sleep(SETTLE_S)
    began_s = boottime_s()
    fault(row)
    over_s = boottime_s()
    row.wait_until_granted(BACK_WITHIN_S)
    back_s = boottime_s()
    time.sleep(TAIL_S)
    row.steady_load.clear()
    return _line(row, watch.between(began_s, back_s + TAIL_S), name, began_s, back_s - over_s)


def _line(row: Row, seen: Sequence[Seen], name: str, began_s: float, back_after_s: float) -> Line:
    bad = [one for node in row.nodes for one in uncovered(list(seen), node, granted(row, node))]
    unsafe_s = max((one.now_s - began_s for one in bad), default=0.0)
    allowed_s = LEASE_S + OBEYED_WITHIN_S if name in UNCOVERED_AT_FIRST else 0.0
    stale = sum(one.now_s - began_s > allowed_s for one in bad)
    over_s = sum(later.now_s - one.now_s for one, later in pairwise(seen) if one.draw_w > row.budget_w)
    floors = (one.now_s - began_s for one in seen if min(one.limits_w.values()) <= FLOOR_W + SAME_W)
    changes = _changes(row, seen) if name in NO_CAP_CHANGES else 0
    wrong = [
        *([f"{stale} times a limit that no grant covered"] if stale else []),
        *([f"over the budget for {over_s:.1f} s"] if over_s and name not in UNCOVERED_AT_FIRST else []),
        *([f"{changes} caps changed, it was away for {row.down_s:.1f} s"] if changes else []),
    ]
    return Line(name, unsafe_s, stale, over_s, next(floors, None), changes, back_after_s, wrong)


def _changes(row: Row, seen: Sequence[Seen]) -> int:
    return sum(
        abs(later.limits_w[node] - one.limits_w[node]) > SAME_W
        for one, later in pairwise(seen) for node in row.nodes
    )
