"""What the node's own guard sees, as its limiter's event log tells it: from what happens on the node to eight lower limits, set and read back.

    limit over the grant     somebody sets all eight to their default: seen with the next reading, every 100 ms
    ended lease              its agent is stopped: seen at the next reading as well
    draw far over the grant  more than any card overshoots: acted on with the first reading that shows it
    draw over the grant      a third more, which may be an overshoot: `wait` is until it has lasted too long for that

Each limit takes 10-20 ms to set, one after another: some 120 ms for eight, whoever decides.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from step_log import Logs, Stepped, all_enforce, first

from gpuwarden.agent.limiter.events import Directive, LimitsRead, PowerRead
from gpuwarden.agent.limiter.guard import ABOVE_RATIO, SPIKE_RATIO, SPIKE_S
from gpuwarden.core.eventlog import Step
from gpuwarden.proto.lease_pb2 import Grant, Sealed

LIMIT, LEASE, FAR, NEAR = "limit over the grant", "ended lease", "draw far over the grant", "draw over the grant"
FLOOR_W, DEFAULT_W, SLACK_W = 200.0, 700.0, 50.0
LAPSES_WITHIN_S: Final = 7.0


@dataclass(frozen=True, slots=True)
class Sight:
    """Something that one guard has to see. `limit_w`: of its cards just before."""

    kind: str
    node: str
    when: Stepped
    limit_w: float

    @staticmethod
    def above_w(kind: str, limit_w: float) -> float:
        """What a card has to draw for it."""
        return (SPIKE_RATIO if kind == FAR else ABOVE_RATIO) * limit_w


@dataclass(frozen=True, slots=True)
class GuardShares:
    """Seconds. The sample is the reading with which the guard knows."""

    sensor_s: float
    poll_s: float
    wait_s: float
    set_s: float

    @property
    def from_sample_s(self) -> float:
        return self.set_s

    @property
    def from_step_s(self) -> float:
        return self.sensor_s + self.poll_s + self.wait_s + self.set_s


def guard_shares(logs: Logs, sights: Sequence[Sight], kind: str) -> Iterator[GuardShares]:
    """Of all of one kind that led to eight lower limits."""
    if kind == LEASE:
        yield from _ended_leases(logs, next(sight.node for sight in sights if sight.kind == LEASE))
        return
    for sight in sights:
        if sight.kind == kind:
            try:
                yield _limit(logs.limiters[sight.node], sight) if kind == LIMIT else _draw(logs.limiters[sight.node], sight)
            except LookupError:
                print(f"{kind}: one led to no lower limits")


def _limit(steps: Sequence[Step], sight: Sight) -> GuardShares:
    read_s = first(steps, sight.when.step_s, _raised).now_s
    set_s = first(steps, read_s, all_enforce(sight.limit_w + SLACK_W)).now_s
    return GuardShares(0.0, read_s - sight.when.step_s, 0.0, set_s - read_s)


def _raised(event: object) -> bool:
    return isinstance(event, LimitsRead) and all(card.enforced_w >= DEFAULT_W for card in event.cards)


def _draw(steps: Sequence[Step], sight: Sight) -> GuardShares:
    step_s, shown_s = sight.when
    read_s = first(steps, step_s, _above(Sight.above_w(sight.kind, sight.limit_w))).now_s
    knows_s = read_s if sight.kind == FAR else first(steps, read_s + SPIKE_S, _above(0.0)).now_s
    set_s = first(steps, knows_s, all_enforce(FLOOR_W)).now_s
    shown_s = min(shown_s, read_s)
    return GuardShares(shown_s - step_s, read_s - shown_s, knows_s - read_s, set_s - knows_s)


def _above(power_w: float) -> Callable[[object], bool]:
    return lambda event: isinstance(event, PowerRead) and max(event.power_w) > power_w


def _ended_leases(logs: Logs, node: str) -> Iterator[GuardShares]:
    """Wherever no further grant came before the end of the newest one's lease."""
    steps = logs.limiters[node]
    leases = [(step.now_s, _ends_s(step.event)) for step in steps if isinstance(step.event, Directive)]
    for (_, ends_s), (next_s, _) in itertools.pairwise(leases):
        if next_s > ends_s:
            knows_s = first(steps, ends_s, _above(0.0)).now_s
            yield GuardShares(0.0, knows_s - ends_s, 0.0, first(steps, knows_s, all_enforce(FLOOR_W)).now_s - knows_s)


def _ends_s(directive: Directive) -> float:
    grant = Grant.FromString(Sealed.FromString(directive.sealed).payload)
    return grant.echo_stamp_s + grant.lease_s
