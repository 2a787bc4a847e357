"""The limiter's decisions: it alone sets this node's limits, under a lease on its own boot clock.

In auto a GPU's limit is the newest grant's while that lease runs, and the floor at any other time; what the driver says is
held against that ten times a second. Outside auto nothing is touched, but that leaving auto releases the limits once.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import assert_never

from gpuwarden.agent.limiter.card import Card, CardState
from gpuwarden.agent.limiter.clocks import Clocks
from gpuwarden.agent.limiter.events import (
    Action,
    ClocksLocked,
    Directive,
    DriverHung,
    Event,
    LimitsRead,
    PowerRead,
    ReadLimits,
    Remember,
    RememberFailed,
    SendReport,
    SetLimits,
)
from gpuwarden.agent.limiter.guard import Guard
from gpuwarden.agent.limiter.lease import LEASE_LIMIT_S, Lease, Past, Refused, accept
from gpuwarden.agent.limiter.peaks import Peaks
from gpuwarden.agent.limiter.report import card_report, grant_in_force, moved_w
from gpuwarden.agent.limiter.standing import Standing, enforces, unmet
from gpuwarden.core.machine import Level, Say
from gpuwarden.core.seal import Way, seal
from gpuwarden.core.version import VERSION
from gpuwarden.proto.lease_pb2 import MODE_AUTO, Applied, GrantInForce, Mode, PowerReport

REPORT_VERSION = 1
REPORT_S = 1.0
URGENT_S = 0.05  # reports that do not wait are at least this far apart
STEP_S = 0.3  # that a step takes, as its beginning and its end are read
STEP_RATIO = 0.05  # a change of the node's power by this share of its default limits does not wait
READBACK_S = 1.0
RETRY_S = 0.5  # between attempts to set what the driver did not take
REFUSAL_CHARS = 200  # it goes into every report, and a report into one frame


@dataclass(frozen=True, slots=True)
class LimiterSetup:
    """What a limiter begins with. `epoch` and `mode` are as it last remembered them: 0 and observe on a new node."""

    node: str
    limiter_start: str
    cards: tuple[Card, ...]
    floors_w: tuple[float, ...]
    epoch: int
    mode: "Mode.ValueType"


class Limiter:
    """The machine of one node. `key` seals what it and its controller tell each other."""

    def __init__(self, setup: LimiterSetup, key: bytes) -> None:
        self._setup, self._key = setup, key
        self.mode, self.epoch = setup.mode, setup.epoch
        self.lease: Lease | None = None
        self._wanted_w: tuple[float, ...] | None = None  # None: the limits are not ours to set
        self._power_w = self._reported_w = self._reported_before_w = (math.nan,) * len(setup.cards)
        self._limits = (CardState(math.nan, math.nan),) * len(setup.cards)
        self._confirmed_s: float | None = None  # since when the driver has enforced what is wanted
        self._set_s = self._read_s = self._sent_s = self._moved_s = -math.inf
        self._first_stamp_s = math.inf
        self._guard, self._peaks = Guard(), Peaks(LEASE_LIMIT_S)
        self._step_w = STEP_RATIO * math.fsum(card.default_w for card in setup.cards)
        self._lets_go_s: float | None = None  # stamp of the first report that said that the guard has the node at its floor; None: it has not
        self._driver_loads = -1
        self._sequence = self._guard_trips = self._foreign_changes = self._refusals = 0
        self._hung = False
        self._hung_call = ""
        self._refused: tuple[str, ...] = ()
        self._floors_w = self._in_range(setup.floors_w)
        self._news = True  # something that the controller should not wait a second for
        self._refusal = ""
        self._unsaved = ""  # why the epoch or mode could not be remembered
        self._applied: Applied | None = None
        self._clocks = Clocks(setup.cards, setup.mode == MODE_AUTO)
        if setup.mode == MODE_AUTO:
            self._wanted_w = self._floors_w

    def step(self, now_s: float, event: Event) -> list[Action]:
        """Times are CLOCK_BOOTTIME of this node. Actions in order. A lease ends with whatever comes first: a tick may come late."""
        return [*self._hear(now_s, event), *self._lapse(now_s), *self._clocks.order(now_s)]

    def _hear(self, now_s: float, event: Event) -> list[Action]:
        match event:
            case PowerRead():
                return list(self._tick(now_s, event))
            case LimitsRead():
                return list(self._read_back(now_s, event))
            case Directive():
                return list(self._directive(now_s, event))
            case ClocksLocked():
                self._news = True
                return list(self._clocks.locked(event))
            case DriverHung():
                return self._driver_hung(event)
            case RememberFailed():
                return list(self._not_remembered(now_s, event))
            case _:
                assert_never(event)

    @property
    def locks(self) -> bool:
        """Whether some card's clock is locked by us."""
        return bool(self._clocks.locked_hz)

    @property
    def driver_answers(self) -> bool:
        return not self._hung

    @property
    def standing(self) -> Standing:
        """Ready: in auto every card enforces what is wanted, first the floor; outside auto the driver has told its limits."""
        if self._hung:
            return Standing(False, f"the driver does not answer: {self._hung_call}")
        if self._driver_loads < 0:
            return Standing(False, "waits for the driver to tell its limits")
        if self._wanted_w is None or self.mode != MODE_AUTO:
            return Standing(True, f"{len(self._limits)} cards are read, and none is touched")
        if self._confirmed_s is None:
            return Standing(False, unmet(self._limits, self._wanted_w, self._refused) or "limits are being set")
        return Standing(True, f"{len(self._limits)} cards obey {'their floor' if self._wanted_w == self._floors_w else 'a lease'}")

    def _tick(self, now_s: float, event: PowerRead) -> Iterator[Action]:
        assert len(event.power_w) == len(self._setup.cards)
        self._power_w = event.power_w
        self._peaks.read(now_s, math.fsum(event.power_w))
        self._hung &= all(map(math.isnan, event.power_w))
        yield from self._lapse(now_s)
        yield from self._watch(now_s)
        yield from self._reconcile(now_s)
        if now_s - self._read_s >= READBACK_S:
            self._read_s = now_s
            yield ReadLimits()
        if self._due(now_s):  # here alone: a report of news that left with the power of before the news would hold back the next
            yield self._report(now_s)

    def _lapse(self, now_s: float) -> Iterator[Action]:
        if self.mode != MODE_AUTO or self.lease is None or now_s < self.lease.ends_s:
            return
        self._clocks.want(())
        if self._wanted_w == self._floors_w:
            return
        self._first_stamp_s = math.inf  # to who has not heard of it, what raises us now would be a renewal, which overshoots nothing
        yield Say(f"lease of grant {self.lease.grant.sequence} has ended: every GPU goes to its floor", Level.WARNING)
        yield from self._want(now_s, self._floors_w, "the lease has ended")

    def _watch(self, now_s: float) -> Iterator[Action]:
        """What cards draw: where one surely does not obey, all go to the floor, set anew if they are there, and that is counted."""
        if self.mode != MODE_AUTO or self._wanted_w is None:
            self._guard.knows_nothing(now_s)
        elif self._guard.trips(now_s, self._power_w, self._wanted_w, lowest=self._wanted_w == self._floors_w):
            self._guard_trips += 1
            self._lets_go_s = math.inf
            yield Say(f"guard: {sum(self._power_w):,.0f} W under limits of {sum(self._wanted_w):,.0f} W", Level.WARNING)
            yield from self._want(now_s, self._floors_w, "a card draws more than its limit")

    def _reconcile(self, now_s: float) -> Iterator[Action]:
        if self._wanted_w is not None and self._confirmed_s is None and now_s - self._set_s >= RETRY_S:
            yield from self._set(now_s, self._wanted_w, "the driver does not enforce it yet")

    def _want(self, now_s: float, limits_w: tuple[float, ...], reason: str) -> Iterator[Action]:
        self._wanted_w, self._confirmed_s, self._news = limits_w, None, True
        self._guard.allows(now_s, limits_w)
        yield from self._set(now_s, limits_w, reason)

    def _set(self, now_s: float, limits_w: tuple[float, ...], reason: str) -> Iterator[Action]:
        """Above the floor nothing is set by an epoch that is not durable; what is remembered already costs nothing."""
        self._set_s = now_s
        if limits_w != self._floors_w:
            yield Remember(self.epoch, self.mode)
        yield SetLimits(limits_w, reason)

    def _not_remembered(self, now_s: float, event: RememberFailed) -> Iterator[Action]:
        """What was granted cannot be set, be it a cut: the floor is below all of it. Every directive tries again."""
        if event.reason != self._unsaved:
            self._unsaved = event.reason
            yield Say(f"state_file: {event.reason}: no limit above the floor is set until it can be written", Level.ERROR)
        if self.mode != MODE_AUTO or self._wanted_w == self._floors_w:
            return
        self._wanted_w, self._confirmed_s, self._applied = self._floors_w, None, None
        if self._enforced():  # at the last readback: unless a new one confirms it, the next tick sets it
            self._set_s = -math.inf
            yield ReadLimits()
        else:
            yield from self._want(now_s, self._floors_w, "what was granted cannot be remembered")

    def _read_back(self, now_s: float, event: LimitsRead) -> Iterator[Action]:
        assert len(event.cards) == len(self._setup.cards)
        for cards in (self._limits, event.cards):  # the old ones may have been in force until now
            self._guard.allows(now_s, tuple(card.enforced_w for card in cards))
        self._limits, self._refused, self._hung, self._read_s = event.cards, event.refused, False, now_s
        yield from self._driver_came_up(now_s, event)
        if self._wanted_w is not None and self._enforced():
            self._confirm(now_s)
        elif self._wanted_w is not None and self._confirmed_s is not None:
            self._foreign_changes += 1
            yield Say(f"somebody else changed a limit: {self._shown()}; set again", Level.WARNING)
            yield from self._want(now_s, self._wanted_w, "somebody else changed a limit")

    def _confirm(self, now_s: float) -> None:
        if self._wanted_w != self._floors_w:
            self._unsaved = ""
        if self.mode != MODE_AUTO:
            self._wanted_w = None  # released: from here on the limits are not ours
        elif self._confirmed_s is None:
            self._confirmed_s, self._news = now_s, True
            if self._applied is not None and not self._applied.set_s:
                self._applied.set_s = now_s

    def _driver_came_up(self, now_s: float, event: LimitsRead) -> Iterator[Action]:
        if event.driver_loads == self._driver_loads:
            return
        if self._driver_loads >= 0:
            self._clocks.lost()
            self._guard.knows_nothing(now_s)
            self._confirmed_s, self._set_s, self._news = None, -math.inf, True
            yield Say("the driver was loaded anew: its limits are back at the default", Level.WARNING)
        self._driver_loads = event.driver_loads

    def _enforced(self) -> bool:
        assert self._wanted_w is not None
        return all(enforces(card, limit_w) for card, limit_w in zip(self._limits, self._wanted_w, strict=True))

    def _shown(self) -> str:
        return ", ".join(f"{card.requested_w:.0f} W" for card in self._limits)

    def _directive(self, now_s: float, event: Directive) -> Iterator[Action]:
        past = Past(
            self._setup.node, self._setup.limiter_start, self.epoch, self.lease, len(self._setup.cards),
            self._first_stamp_s, self._sent_s,
        )
        try:
            grant = accept(event.sealed, self._key, past, now_s)
        except Refused as why:
            reason = str(why)[:REFUSAL_CHARS]
            self._news |= reason != self._refusal
            self._refusal, self._refusals = reason, self._refusals + 1
            if self._refusals.bit_count() == 1:  # the first, second, fourth, eighth: nobody can flood the log
                yield Say(f"directive refused, {self._refusals} so far: {reason}", Level.WARNING)
            return
        self._refusal = ""
        if (grant.epoch, grant.mode) != (self.epoch, self.mode):
            yield Remember(grant.epoch, grant.mode)
        left_auto = self.mode == MODE_AUTO and grant.mode != MODE_AUTO
        self.epoch, self.mode = grant.epoch, grant.mode
        self.lease = Lease(grant, self._in_range(grant.limits_w), tuple(grant.clocks_hz), grant.echo_stamp_s + grant.lease_s)
        if left_auto or self.mode == MODE_AUTO:
            self._clocks.want(() if left_auto else self.lease.clocks_hz)
        if left_auto:
            self._lets_go_s = None
            yield from self._want(now_s, tuple(card.default_w for card in self._setup.cards), "this node has left auto")
        elif self.mode == MODE_AUTO:
            yield from self._obey(now_s, self.lease)

    def _obey(self, now_s: float, lease: Lease) -> Iterator[Action]:
        if self._guarded(now_s, lease):
            return
        self._lets_go_s = None
        if lease.limits_w != self._wanted_w:
            grant = lease.grant
            self._applied = Applied(sequence=grant.sequence, echo_s=grant.echo_stamp_s, received_s=now_s)
            yield from self._want(now_s, lease.limits_w, f"grant {grant.sequence} of epoch {grant.epoch}")

    def _guarded(self, now_s: float, lease: Lease) -> bool:
        """At the floor by the guard's word. As after the end of a lease, what raises the node has to come from who has heard of that."""
        return self._lets_go_s is not None and (self._guard.holds(now_s) or lease.grant.echo_stamp_s < self._lets_go_s)

    def _driver_hung(self, event: DriverHung) -> list[Action]:
        if self._hung:
            return []
        self._hung, self._hung_call, self._confirmed_s, self._news = True, event.call, None, True
        self._limits = (CardState(math.nan, math.nan),) * len(self._setup.cards)
        return [Say(f"the driver does not answer: {event.call}", Level.ERROR)]

    def _in_range(self, limits_w: Iterable[float]) -> tuple[float, ...]:
        return tuple(
            min(max(limit_w, card.min_w), card.max_w) for limit_w, card in zip(limits_w, self._setup.cards, strict=True)
        )

    def _due(self, now_s: float) -> bool:
        if now_s - self._sent_s >= REPORT_S:
            return True
        return (self._news or self._stepped(now_s)) and now_s - self._sent_s >= URGENT_S

    def _stepped(self, now_s: float) -> bool:
        """Power has moved by a step, or a card has begun or ceased to answer."""
        if list(map(math.isnan, self._power_w)) != list(map(math.isnan, self._reported_w)):
            return True
        lately = now_s - self._moved_s < STEP_S  # a report that left as a step began would make two small ones of it
        return any(moved_w(self._power_w, w) > self._step_w for w in (self._reported_w, *([self._reported_before_w] if lately else [])))

    def _report(self, now_s: float) -> SendReport:
        self._sequence += 1
        if self._power_w != self._reported_w:  # two reports of one reading count as one
            self._reported_before_w, self._reported_w, self._moved_s = self._reported_w, self._power_w, now_s
        self._sent_s, self._news = now_s, False
        self._first_stamp_s = min(self._first_stamp_s, now_s)
        if self._lets_go_s is not None and self._confirmed_s is not None:  # before the floor is read back, a report shows the old limits
            self._lets_go_s = min(self._lets_go_s, now_s)
        report = PowerReport(
            version=REPORT_VERSION, node=self._setup.node, limiter_start=self._setup.limiter_start, sequence=self._sequence,
            stamp_s=now_s, cards=map(card_report, self._setup.cards, self._power_w, self._limits), mode=self.mode,
            floor_w=max(self._floors_w), epoch=self.epoch, grant=self._in_force(now_s), driver_hung=self._hung,
            confirmed_for_s=None if self._confirmed_s is None else now_s - self._confirmed_s,
            driver_loads=max(self._driver_loads, 0), guard_trips=self._guard_trips, foreign_changes=self._foreign_changes,
            applied=self._applied, refusal=self._refusal, refusals=self._refusals, limiter_version=VERSION,
            clocks_hz=self._clocks.locked_hz, clock_max_hz=self._clocks.max_hz,
        )
        return SendReport(seal(self._key, Way.UP, self._setup.node, report.SerializeToString()))

    def _in_force(self, now_s: float) -> GrantInForce | None:
        if self.lease is None or self.mode != MODE_AUTO or now_s >= self.lease.ends_s:
            return None
        return grant_in_force(self.lease, now_s, self._peaks.since_w(self.lease.grant.echo_stamp_s))
