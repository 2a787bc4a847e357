"""One line of the table: a fault done, everything that was seen meanwhile, and whether that is what was promised."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from chaos import written
from chaos.cover import HANDOVER_S, covers, uncovered
from chaos.deaths import AT_DEFAULT_AT_FIRST, NO_CAP_CHANGES, Fault
from chaos.row import FLOOR_W, Row, may_draw_w
from chaos.watch import LARGEST_GAP_S, SAME_W, Seen, Watch, boottime_s, largest_gap_s
from chaos.word import Run, runs

BACK_WITHIN_S = 60.0
TAIL_S = 2.0
SETTLE_S = 15.0
READBACK_S = 1.0  # from one look of a limiter at its driver to the next: only then can it know of a reload
FIRST_TOLD = 3


@dataclass(frozen=True, slots=True)
class Line:
    """`wrong` is empty where all that was promised held."""

    fault: str
    uncovered_s: float  # from the fault until the last card was at its floor or under a grant that ran
    stale_obeyed: int  # looks at which a limit stood that no grant covered, beyond what is promised
    over_budget_s: float
    highest_sum: float  # of all that the limits allowed, as a share of the budget
    floor_after_s: float | None  # from the fault until some node was at its floor; None if none was
    cap_changes: int
    ledger_lines: int
    back_after_s: float
    largest_gap_s: float  # between two looks
    remarks: list[str]
    wrong: list[str]


@dataclass(frozen=True, slots=True)
class Past:
    """What happened from `began_s` of CLOCK_BOOTTIME on: looks, and what limiters were handed."""

    name: str
    began_s: float
    ended_s: float
    seen: Sequence[Seen]
    of_nodes: dict[str, list[Run]]

    def excused(self, node: str, one: Seen) -> bool:
        """Nobody can set a limit anew before he knows that it is gone. The node counts among the `dead_nodes` meanwhile."""
        return AT_DEFAULT_AT_FIRST.get(self.name) == node and one.now_s - self.began_s <= READBACK_S + HANDOVER_S


def judged(row: Row, watch: Watch, name: str, fault: Fault) -> Line:
    """Does it and looks. AssertionError if the row does not come back."""
    if name in NO_CAP_CHANGES:
        row.hold_load()
        time.sleep(SETTLE_S)
    row.remarks, row.undone = [], []
    began_s = boottime_s()
    fault(row)
    over_s = boottime_s()
    row.wait_until_granted(BACK_WITHIN_S)
    back_s = boottime_s()
    time.sleep(TAIL_S)
    row.steady_load.clear()
    ended_s = boottime_s()
    return _line(row, Past(name, began_s, ended_s, watch.between(began_s, ended_s), runs(row)), back_s - over_s)


def _line(row: Row, past: Past, back_after_s: float) -> Line:
    bad = [(node, one) for node, of_node in past.of_nodes.items() for one in uncovered(past.seen, node, covers(of_node))]
    stale = sum(not past.excused(node, one) for node, one in bad)
    sums_w = [max(one.draw_w, may_draw_w(one.limits_w)) for one in past.seen]
    over_s = sum(later.now_s - one.now_s for (one, later), sum_w in zip(pairwise(past.seen), sums_w, strict=False) if sum_w > row.budget_w)
    changes = _changes(past.seen) if past.name in NO_CAP_CHANGES else 0
    gap_s = largest_gap_s(past.seen, past.began_s, past.ended_s)
    told = _account(row, past)
    wrong = [
        *([f"{stale} times a limit that no grant covered, last {_shown(past, bad)}"] if stale else []),
        *([f"over the budget for {over_s:.1f} s"] if over_s else []),
        *([f"{changes} caps changed, it was away for {row.down_s:.1f} s"] if changes else []),
        *_first("the ledger lacks", told.missing), *_first("the ledger repeats", told.twice),
        *([f"for {gap_s:.2f} s nobody looked"] if gap_s > LARGEST_GAP_S else []),
        *row.undone,
    ]
    last_s = max((one.now_s - past.began_s for _, one in bad), default=0.0)
    highest = max(sums_w, default=0.0) / row.budget_w
    return Line(
        past.name, last_s, stale, over_s, highest, _floor_after_s(past), changes, told.lines, back_after_s, gap_s, list(row.remarks), wrong
    )


def _account(row: Row, past: Past) -> written.Account:
    judged = {node: [one for one in past.seen if not past.excused(node, one)] for node in row.nodes}
    return written.account(written.entries(row), past.of_nodes, judged, past.began_s, past.ended_s)


def _floor_after_s(past: Past) -> float | None:
    floors_s = (one.now_s - past.began_s for one in past.seen if min(map(max, one.limits_w.values())) <= FLOOR_W + SAME_W)
    return next(floors_s, None)


def _changes(seen: Sequence[Seen]) -> int:
    """Of single cards' limits, all of them."""
    return sum(
        abs(later_w - one_w) > SAME_W
        for one, later in pairwise(seen) for node in one.limits_w
        for one_w, later_w in zip(one.limits_w[node], later.limits_w[node], strict=True)
    )


def _shown(past: Past, bad: Sequence[tuple[str, Seen]]) -> str:
    node, one = max(((node, one) for node, one in bad if not past.excused(node, one)), key=lambda pair: pair[1].now_s)
    return f"{node} at {max(one.limits_w[node]):.0f} W, {one.now_s - past.began_s:.1f} s after"


def _first(what: str, told: Sequence[str]) -> Iterator[str]:
    """So that one cause does not fill a page."""
    if told:
        yield f"{what} {len(told)}: {', '.join(told[:FIRST_TOLD])}"
