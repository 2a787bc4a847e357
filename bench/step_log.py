"""The way from a step of power to lower limits, as the event logs of limiters and controller tell it. All times are of the boot clock."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from fakes.nvml.steer import FakeNode

from gpuwarden.agent.limiter import events as limiter_events
from gpuwarden.agent.limiter.card import CardState
from gpuwarden.controller import events as controller_events
from gpuwarden.core.eventlog import Step, read_head, read_steps
from gpuwarden.core.plain import Plain, Reader
from gpuwarden.proto.lease_pb2 import Grant, PowerReport, Sealed

GPUS = 8
STEP_W = 0.05 * GPUS * 700.0  # as the limiter defines it
LOOK_S, SHOWN_WITHIN_S, FOLLOWS_S = 0.004, 2.0, 2.0
LOWER_W = 5.0  # a limit that fell by at least one step of the allocator
SETTLED_RATIO = 1.05  # a card's sensor, by which it is held, is off by at most this


class Stepped(NamedTuple):
    """When it was done, and when the sensors showed it."""

    step_s: float
    shown_s: float


@dataclass(frozen=True, slots=True)
class Shares:
    """Seconds of one step. `settle_s` comes on top: until the node reads no more than its new limits, as its limiter reads it."""

    sensor_s: float
    poll_s: float
    stream_s: float
    decide_s: float
    set_s: float
    settle_s: float

    @property
    def from_sample_s(self) -> float:
        return self.stream_s + self.decide_s + self.set_s

    @property
    def from_step_s(self) -> float:
        return self.sensor_s + self.poll_s + self.from_sample_s


class Logs:
    """Of a stack that has ended: of each limiter by its node, and of the controller, whose clock is brought to the boot clock."""

    def __init__(self, events: Path) -> None:
        reader = Reader((*_types(limiter_events), *_types(controller_events), CardState))
        ahead_s = boottime_s() - time.monotonic()
        files = {read_setup(log)["node"]: log for log in events.glob("limiter-*.jsonl")}
        self.limiters = {node: list(read_steps(log, reader)) for node, log in files.items()}
        self.setups = {node: read_setup(log) for node, log in files.items()}
        (log,) = events.glob("controller-*.jsonl")
        self.controller = [replace(step, now_s=step.now_s + ahead_s) for step in read_steps(log, reader)]


def boottime_s() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def read_setup(log: Path) -> Plain:
    """What a daemon's machine began with."""
    return read_head(log)[1]


def node_sensor_w(cards: FakeNode) -> float:
    """As whoever reads all of them now sees it."""
    return sum(cards.sensor_w(gpu) for gpu in range(cards.gpus))


def watched(act: Callable[[], object], shows: Callable[[], bool]) -> Stepped:
    """Acts, and looks every LOOK_S until the sensors show what comes of it."""
    step_s = boottime_s()
    act()
    while not shows():
        assert boottime_s() - step_s < SHOWN_WITHIN_S, "the sensors show no step"
        time.sleep(LOOK_S)
    return Stepped(step_s, boottime_s())


def rise(cards: FakeNode, power_w: float) -> Stepped:
    """The load of all cards of a node to `power_w`: a step of what does not wait."""
    shown_w = node_sensor_w(cards) + STEP_W
    return watched(lambda: cards.set_demands(power_w), lambda: node_sensor_w(cards) > shown_w)


def central_shares(logs: Logs, stepped: Sequence[Stepped], stepping: Sequence[str], rich: str) -> Iterator[Shares]:
    """Of steps that the nodes `stepping` made in turn, until `rich` has lower limits. A step that led to none is missing, and said."""
    for number, (step_s, shown_s) in enumerate(stepped):
        node = stepping[number % len(stepping)]
        try:
            shown_w = _newest_w(logs.controller, node, step_s) + STEP_W
            read_s = first(logs.limiters[node], step_s, _shows(shown_w)).now_s
            heard_s = first(logs.controller, read_s, _tells(node, shown_w)).now_s
            granted = first(logs.limiters[rich], heard_s, _lower_grant(logs.limiters[rich], heard_s))
            limit_w = granted_w(granted.event)
            assert limit_w is not None
            set_s = first(logs.limiters[rich], granted.now_s, all_enforce(limit_w)).now_s
            settled_s = first(logs.limiters[rich], set_s, draws_at_most(SETTLED_RATIO * GPUS * limit_w)).now_s
        except LookupError:
            print(f"step {number + 1} led to no lower limits", file=sys.stderr)
            continue
        shown_s = min(shown_s, read_s)  # we look every LOOK_S, and so may be later than the limiter
        yield Shares(shown_s - step_s, read_s - shown_s, heard_s - read_s, granted.now_s - heard_s, set_s - granted.now_s, settled_s - set_s)


def first(steps: Sequence[Step], after_s: float, shows: Callable[[object], bool]) -> Step:
    """The first step from then on whose event shows it; LookupError where there is none within FOLLOWS_S."""
    for step in steps:
        if step.now_s >= after_s and shows(step.event):
            return step
        if step.now_s > after_s + FOLLOWS_S:
            break
    raise LookupError


def all_enforce(limit_w: float) -> Callable[[object], bool]:
    """A readback after which no card has more than `limit_w`."""

    def enforce(event: object) -> bool:
        return isinstance(event, limiter_events.LimitsRead) and all(card.enforced_w <= limit_w + 0.5 for card in event.cards)

    return enforce


def draws_at_most(node_w: float) -> Callable[[object], bool]:
    return lambda event: isinstance(event, limiter_events.PowerRead) and sum(event.power_w) <= node_w


def granted_w(event: object) -> float | None:
    """The highest limit of a grant: when it falls, all eight have fallen."""
    if not isinstance(event, limiter_events.Directive):
        return None
    return max(Grant.FromString(Sealed.FromString(event.sealed).payload).limits_w)


def percentile_ms(seconds: Sequence[float], percent: int) -> float:
    """The smallest value that at least `percent` of all do not exceed."""
    ordered = sorted(seconds)
    return round(1e3 * ordered[max(0, -(-percent * len(ordered) // 100) - 1)], 1)


def _types(module: object) -> tuple[type, ...]:
    return tuple(value for value in vars(module).values() if isinstance(value, type))


def _shows(shown_w: float) -> Callable[[object], bool]:
    return lambda event: isinstance(event, limiter_events.PowerRead) and sum(event.power_w) > shown_w


def _tells(node: str, shown_w: float) -> Callable[[object], bool]:
    return lambda event: (_reported_w(event, node) or 0.0) > shown_w


def _reported_w(event: object, node: str) -> float | None:
    """The power in a report of this node; None if it is another event."""
    if not isinstance(event, controller_events.ReportArrived):
        return None
    sealed = Sealed.FromString(event.sealed)
    return sum(card.power_w for card in PowerReport.FromString(sealed.payload).cards) if sealed.node == node else None


def _newest_w(steps: Sequence[Step], node: str, before_s: float) -> float:
    """What the limiter compares with: its newest report."""
    return next(w for step in reversed(steps) if step.now_s < before_s and (w := _reported_w(step.event, node)) is not None)


def _lower_grant(steps: Sequence[Step], at_s: float) -> Callable[[object], bool]:
    before_w = [w for step in steps if step.now_s < at_s and (w := granted_w(step.event))]

    def lower(event: object) -> bool:
        limit_w = granted_w(event)
        return limit_w is not None and limit_w <= before_w[-1] - LOWER_W

    return lower
