"""One node: the real limiter on a driver that sets its cards one after another, hangs, is reloaded and used by others."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Final

import numpy as np

from gpuwarden.agent.limiter.card import Card, CardState
from gpuwarden.agent.limiter.events import (
    Action,
    Directive,
    DriverHung,
    Event,
    LimitsRead,
    PowerRead,
    ReadLimits,
    Remember,
    SendReport,
    SetLimits,
)
from gpuwarden.agent.limiter.machine import Limiter, LimiterSetup
from gpuwarden.agent.limiter.standing import SAME_W
from gpuwarden.controller.power.node_class import NodeClass
from gpuwarden.proto.lease_pb2 import Mode
from gpuwarden.sim.safety.cards import Cards
from gpuwarden.sim.safety.clock import Clock
from gpuwarden.sim.timeline import Timeline

SET_S: Final = (0.010, 0.020)  # a card, behind a lock that all cards of a node share
DEADLINE_S: Final = 1.0  # of a driver call
REST_S: Final = 2.0  # between attempts at a driver that hangs
NAN: Final = float("nan")

Limits = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server stands. `report(node, sealed)`; `ordered(node, limits)`: its limiter has ordered these."""

    cards: Cards
    time: Timeline
    chance: Random
    report: Callable[[int, bytes], None]
    ordered: Callable[[int, Limits], None]


class Server:
    """`number`: its place among the nodes. It begins in auto, as it was before."""

    def __init__(self, name: str, number: int, made: NodeClass, key: bytes, place: Place) -> None:
        self.name, self.number, self._made, self._key, self._place = name, number, made, key, place
        self._cards = tuple(Card(f"{name}-{gpu}", made.default_w, made.floor_w / 2, made.default_w) for gpu in range(made.gpus))
        self.clock = Clock(place.chance, place.time.now_s)
        self._remembered: tuple[int, Mode.ValueType] = 0, Mode.MODE_AUTO
        self.limiter: Limiter | None = None
        self.start = ""
        self.hung_since_s: float | None = None
        self.setting: Limits | None = None  # by a call that is under way
        self.waiting: Limits | None = None
        self._read_w = np.full(made.gpus, np.inf)  # limits as last read
        self._looked = -1  # so often limits had been set when they were last looked at
        self._set_number = 0
        self._loads = 1

    def begin(self) -> None:
        """A new limiter, which knows what the last one wrote down."""
        self.start = f"{self._place.chance.getrandbits(64):016x}"
        epoch, mode = self._remembered
        self._read_w = np.full(len(self._cards), np.inf)
        setup = LimiterSetup(self.name, self.start, self._cards, (self._made.floor_w,) * self._made.gpus, epoch, mode)
        self.limiter = Limiter(setup, self._key)

    def end(self) -> None:
        """Killed: what was ordered and not yet set is lost, what a call was doing is done in part."""
        self.limiter, self.waiting = None, None
        self._break_off()

    def boot(self) -> None:
        """Up again: the driver begins at its default, the clock at nothing."""
        self.clock = Clock(self._place.chance, self._place.time.now_s)
        self.hung_since_s = None
        self.reload()
        self.begin()

    def reload(self) -> None:
        """The driver is loaded anew."""
        self._loads += 1
        self.setting = self.waiting = None
        self._set_number += 1
        self._put(self._cards[0].default_w)

    def _put(self, limit_w: float) -> None:
        self._place.cards.set_limits(self.number, (limit_w,) * len(self._cards), self._place.time.now_s)

    def set_by_others(self, limit_w: float) -> None:
        """Somebody on the node, or a service that stands in for a dead limiter."""
        self._put(limit_w)

    def read(self) -> None:
        """The limiter's tick."""
        if self.limiter is None:
            return
        if self.hung_since_s is not None:
            self._tell(PowerRead((NAN,) * len(self._cards)))
            return
        if self.setting is None and self._raised_by_others():
            self._read_back(ordered=False)
        self._tell(PowerRead(self._place.cards.sensed_w(self.number)))

    def _raised_by_others(self) -> bool:
        """Whether a limit is above what was last read."""
        cards = self._place.cards
        if self._looked == (looked := cards.sets[self.number]):
            return False
        self._looked = looked
        return bool((cards.limit_w[cards.part(self.number)] > self._read_w + SAME_W).any())

    def hear(self, sealed: bytes) -> None:
        self._tell(Directive(sealed))

    def hang(self) -> None:
        """The driver answers no call any more. One that is under way has set some of the cards."""
        self.hung_since_s = self._place.time.now_s
        self._break_off()
        self._place.time.after(DEADLINE_S, self._notice)

    def _notice(self) -> None:
        if self.hung_since_s is not None:
            self._tell(DriverHung("set limits: no answer"))

    def answer(self) -> None:
        """It answers again, and is asked again after a while."""
        if self.hung_since_s is None:
            return
        self.hung_since_s = None
        self._place.time.after(self._place.chance.uniform(0.0, REST_S), self._try_again)

    def _try_again(self) -> None:
        if self.hung_since_s is None and self.limiter is not None and self.setting is None:
            self._next()
            if self.setting is None:
                self._read_back(ordered=False)

    def _break_off(self) -> None:
        if self.setting is not None:
            cards, part = self._place.cards, self._place.cards.part(self.number)
            done = self._place.chance.randint(0, len(self.setting))
            mixed = [*self.setting[:done], *cards.limit_w[part].tolist()[done:]]
            cards.set_limits(self.number, mixed, self._place.time.now_s)
        self.setting = None
        self._set_number += 1

    def _tell(self, event: Event) -> None:
        if self.limiter is not None:
            for action in self.limiter.step(self.clock.local_s(self._place.time.now_s), event):
                self._perform(action)

    def _perform(self, action: Action) -> None:
        match action:
            case SetLimits(limits_w):
                self._place.ordered(self.number, limits_w)
                self.waiting = limits_w
                if self.setting is None and self.hung_since_s is None:
                    self._next()
            case ReadLimits():
                if self.setting is None and self.hung_since_s is None:
                    self._read_back(ordered=False)
            case SendReport(sealed):
                self._place.report(self.number, sealed)
            case Remember(epoch, mode):
                self._remembered = epoch, mode

    def _next(self) -> None:
        """A newer order makes the one that waits worthless."""
        if self.waiting is None:
            return
        self.setting, self.waiting = self.waiting, None
        self._set_number += 1
        number = self._set_number
        takes_s = sum(self._place.chance.uniform(*SET_S) for _ in self._cards)
        self._place.time.after(takes_s, lambda: self._set(number))

    def _set(self, number: int) -> None:
        if number != self._set_number or self.setting is None:
            return
        self._place.cards.set_limits(self.number, self.setting, self._place.time.now_s)
        self.setting = None
        self._read_back(ordered=True)
        if self.setting is None:
            self._next()

    def _read_back(self, ordered: bool) -> None:
        self._read_w = self._place.cards.limit_w[self._place.cards.part(self.number)].copy()
        self._tell(LimitsRead(tuple(CardState(w, w) for w in self._read_w.tolist()), self._loads, ordered))
