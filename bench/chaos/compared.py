"""One line of the table of losses: what came in at one end of the data path during a fault, and what came out at the other."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from chaos.alerts import Card, repeats, told
from chaos.row import GPUS, Row
from chaos.samples import Reading
from chaos.watch import Seen
from chaos.word import Run
from chaos.written import Entry, account

ENDS_WITHIN_S: Final = 0.2  # a killed agent's child may finish the call that it is in
SLOW_S: Final = 0.1  # a pass may take as much beyond its period until it is in the agent's file
LEAST_READ: Final = 0.5  # of the passes that there was time for, a restart included

Keys = Counter[tuple[str, int, int]]


@dataclass(frozen=True, slots=True)
class Phase:
    """A fault as it was done. Times are CLOCK_BOOTTIME; of the receiver's events, those from `first_event` up to `end_event` came."""

    fault: str
    began_s: float
    struck_s: float
    ended_s: float
    agent_killed: str | None  # the node
    new_xids: list[Card]
    first_event: int
    end_event: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that was written down, of all phases."""

    reads: Sequence[Reading]
    consumed: Keys
    recorded: Keys
    events: Sequence[dict[str, Any]]
    entries: Sequence[Entry]
    of_nodes: dict[str, list[Run]]


@dataclass(frozen=True, slots=True)
class Line:
    """Readings of single cards. `in_hand` are those of the one pass that an agent's SIGKILL took with it."""

    fault: str
    read: int
    not_consumed: int
    not_recorded: int
    in_hand: int
    xids: int
    not_told: int
    told_twice: int
    ledger_lines: int
    remarks: list[str]
    wrong: list[str]


def compared(row: Row, phase: Phase, evidence: Evidence, seen: Sequence[Seen]) -> Line:
    ours = [one for one in evidence.reads if phase.began_s <= one.now_s < phase.ended_s]
    unseen = {one for one in ours if not evidence.consumed[one.key]}
    unkept = {one for one in ours if not evidence.recorded[one.key]}
    in_hand = _in_hand(phase, unseen | unkept, row.period_s)
    unseen, unkept = unseen - in_hand, unkept - in_hand
    times = told(evidence.events)
    silent = [card for card in phase.new_xids if not times[card]]
    twice = [*_again(phase, times), *repeats(evidence.events[phase.first_event : phase.end_event])]
    ledger = account(evidence.entries, evidence.of_nodes, {node: seen for node in row.nodes}, phase.began_s, phase.ended_s)
    wrong = [
        *_few(row, phase, ours),
        *([f"{len(unseen)} readings never reached the detector: {_named(unseen, phase)}"] if unseen else []),
        *([f"{len(unkept)} readings were never recorded: {_named(unkept, phase)}"] if unkept else []),
        *([f"XIDs of which nobody was told: {silent}"] if silent else []),
        *([f"told again: {', '.join(twice)}"] if twice else []),
        *ledger.missing, *ledger.twice,
        *([] if seen else ["nobody looked"]),
    ]
    remarks = [f"in hand: {_named(in_hand, phase)}"] if in_hand else []
    return Line(
        phase.fault, len(ours), len(unseen), len(unkept), len(in_hand), len(phase.new_xids), len(silent), len(twice), ledger.lines,
        remarks, wrong,
    )


def _in_hand(phase: Phase, lost: Iterable[Reading], period_s: float) -> set[Reading]:
    """The newest reading of each card of the node whose agent was killed, from the pass that was not yet in its file."""
    from_s, to_s = phase.struck_s - period_s - SLOW_S, phase.struck_s + ENDS_WITHIN_S
    newest = {one.gpu: one for one in sorted(lost, key=lambda one: one.now_s) if one.node == phase.agent_killed and from_s < one.now_s <= to_s}
    return set(newest.values())


def _few(row: Row, phase: Phase, ours: Iterable[Reading]) -> list[str]:
    """Where next to nothing was read, nothing can be lost, and nothing is shown."""
    counts = Counter((one.node, one.gpu) for one in ours)
    least = LEAST_READ * (phase.ended_s - phase.began_s) / row.period_s
    few = [f"{node}/{gpu}" for node in row.nodes for gpu in range(GPUS) if counts[node, gpu] < least]
    return [f"hardly ever read: {', '.join(few)}"] if few else []


def _again(phase: Phase, times: Counter[Card]) -> list[str]:
    return [f"the XID of {node}/{gpu}, {times[node, gpu]} times" for node, gpu in phase.new_xids if times[node, gpu] > 1]


def _named(readings: Iterable[Reading], phase: Phase) -> str:
    """Node, time and cards."""
    ordered = sorted(readings, key=lambda one: one.now_s)
    cards = sorted({f"{one.node}/{one.gpu}" for one in ordered})
    first_s, last_s = ordered[0].now_s - phase.struck_s, ordered[-1].now_s - phase.struck_s
    return f"{', '.join(cards)}, {first_s:+.2f} to {last_s:+.2f} s from the fault"
