"""What the node's own guard sees, as its limiter's event log tells it: from what happens on the node to eight lower limits, set and read back.

    limit over the grant     somebody sets all eight to their default: seen with the next reading, every 100 ms
    ended lease              its agent is stopped: seen at the next reading as well
    draw far over the grant  a card draws all it can, whatever its limit: acted on with the first reading that no overshoot explains
    draw over the grant      a third more, which may be an overshoot: `wait` is until it has lasted too long for that

Each limit takes 10-20 ms to set, one after another: some 120 ms for eight, whoever decides. What the limiter ordered, and why, is found by
stepping its machine through its log once more.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from step_log import Logs, Stepped, all_enforce, first

from gpuwarden.agent.limiter.card import Card
from gpuwarden.agent.limiter.events import PowerRead, SetLimits
from gpuwarden.agent.limiter.guard import ABOVE_RATIO
from gpuwarden.agent.limiter.machine import Limiter, LimiterSetup
from gpuwarden.core.eventlog import Step, digest
from gpuwarden.core.plain import Reader
from gpuwarden.core.private import read_key

LIMIT, LEASE, FAR, NEAR = "limit over the grant", "ended lease", "draw far over the grant", "draw over the grant"
REASONS = {
    LIMIT: "somebody else changed a limit", LEASE: "the lease has ended", FAR: "a card draws more than its limit", NEAR: "a card draws more than its limit",
}
FLOOR_W, SLACK_W, FOLLOWS_S = 200.0, 50.0, 2.0


@dataclass(frozen=True, slots=True)
class Sight:
    """Something that a guard has to see. `limit_w`: of its cards just before."""

    kind: str
    node: str
    when: Stepped
    limit_w: float


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


class Order(NamedTuple):
    """Limits that a limiter ordered. `ends_s`: of the newest lease it had."""

    now_s: float
    reason: str
    ends_s: float


def orders(logs: Logs, node: str, keys: Path) -> list[Order]:
    """All that this limiter ordered under a lease."""
    setup = Reader((LimiterSetup, Card)).read(logs.setups[node])
    assert isinstance(setup, LimiterSetup)
    machine, made = Limiter(setup, read_key(keys / f"{node}.key")), list[Order]()
    for step in logs.limiters[node]:
        actions = machine.step(step.now_s, step.event)
        assert digest(actions) == step.actions, f"{node}: line {step.line} of its log replays otherwise"
        made += [Order(step.now_s, a.reason, machine.lease.ends_s) for a in actions if isinstance(a, SetLimits) and machine.lease is not None]
    return made


def lease_shares(steps: Sequence[Step], ordered: Sequence[Order]) -> Iterator[GuardShares]:
    """Of every lease that ended."""
    for knows_s, reason, ends_s in ordered:
        if reason == REASONS[LEASE]:
            yield GuardShares(0.0, knows_s - ends_s, 0.0, first(steps, knows_s, all_enforce(FLOOR_W)).now_s - knows_s)


def sight_shares(steps: Sequence[Step], ordered: Sequence[Order], sights: Sequence[Sight]) -> Iterator[GuardShares]:
    """Of all of one kind that led to eight lower limits."""
    for kind, _, (step_s, shown_s), limit_w in ((s.kind, s.node, s.when, s.limit_w) for s in sights):
        try:
            knows_s = next(order.now_s for order in ordered if order.reason == REASONS[kind] and step_s < order.now_s < step_s + FOLLOWS_S)
            read_s = knows_s if kind == LIMIT else first(steps, step_s, _above(ABOVE_RATIO * limit_w)).now_s
            set_s = first(steps, knows_s, all_enforce(limit_w + SLACK_W if kind == LIMIT else FLOOR_W)).now_s
        except (LookupError, StopIteration):
            continue
        shown_s = step_s if kind == LIMIT else min(shown_s, read_s)
        yield GuardShares(shown_s - step_s, read_s - shown_s, knows_s - read_s, set_s - knows_s)


def _above(power_w: float) -> Callable[[object], bool]:
    return lambda event: isinstance(event, PowerRead) and max(event.power_w) > power_w
