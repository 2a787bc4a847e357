"""A host with the real controller on it: it may be killed between two actions, stopped and continued, and started anew from its memory."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Final

from gpuwarden.controller.events import (
    Action,
    Event,
    RememberEpoch,
    RememberHeat,
    RememberLearnt,
    SendGrant,
    SessionClosed,
    SessionOpened,
    Tick,
    WriteLedger,
)
from gpuwarden.controller.machine import Controller, ControllerSetup
from gpuwarden.core.version import VERSION
from gpuwarden.sim.safety.clock import Clock
from gpuwarden.sim.safety.memory import Memory
from gpuwarden.sim.safety.site import Site
from gpuwarden.sim.timeline import Timeline

DURABLE: Final = (RememberEpoch, RememberHeat, SendGrant, WriteLedger)


@dataclass(frozen=True, slots=True)
class Around:
    """`grant(node, sealed)`: a head has sent one."""

    site: Site
    keys: Mapping[str, bytes]
    time: Timeline
    chance: Random
    grant: Callable[[int, bytes], None]


class Head:
    """Down until `start`. `id`: of the controller, the same after a restart."""

    def __init__(self, around: Around, id: str, memory: Memory) -> None:
        self._around, self.id, self.memory = around, id, memory
        self._controller: Controller | None = None
        self._clock = Clock(around.chance, around.time.now_s)
        self._sessions: dict[int, int] = {}
        self._next_session = 0
        self._waiting: list[Event] | None = None  # while it is stopped
        self._dies_after: int | None = None
        self.wall_ns = 10**18
        self.since_s = 0.0

    @property
    def controller(self) -> Controller | None:
        """None while it is down."""
        return self._controller

    @property
    def answers(self) -> bool:
        return self.up and self._waiting is None

    @property
    def up(self) -> bool:
        return self._controller is not None

    def start(self) -> None:
        site = self._around.site
        heats, learnt = self.memory.heats(), self.memory.learnt()
        setup = ControllerSetup(self.id, self.memory.epoch(), (site.domain,), (), site.timing, heats=heats, learnt=learnt, watched=False)
        self._clock = Clock(self._around.chance, self._around.time.now_s)
        self._controller = Controller(setup, self._around.keys)
        self.since_s = self._around.time.now_s

    def kill(self, after_actions: int = 0) -> None:
        """At once, or in between: after so many more things that last."""
        self._dies_after = after_actions
        if not after_actions:
            self._die()

    def _die(self) -> None:
        self._controller, self._waiting, self._dies_after = None, None, None
        self._sessions.clear()

    def stop(self) -> None:
        if self.up:
            self._waiting, self.since_s = [], math.inf

    def go_on(self) -> None:
        """What came meanwhile is taken in now, in order."""
        waiting, self._waiting, self.since_s = self._waiting, None, self._around.time.now_s
        for event in waiting or ():
            self._step(event)

    def tick(self) -> None:
        if self._waiting is None:  # missed ticks are left out
            self._step(Tick(self.wall_ns + round(self._around.time.now_s * 1e9)))

    def open(self, node: int) -> int:
        self._next_session += 1
        self._sessions[self._next_session] = node
        self._step(SessionOpened(self._next_session, self._around.site.names[node], VERSION))
        return self._next_session

    def close(self, session: int) -> None:
        if self._sessions.pop(session, None) is not None:
            self._step(SessionClosed(session, "ended"))

    def hear(self, event: Event) -> None:
        self._step(event)

    def _step(self, event: Event) -> None:
        if self._waiting is not None:
            self._waiting.append(event)
        elif self._controller is not None:
            for action in self._controller.step(self._clock.local_s(self._around.time.now_s), event):
                if self._controller is not None:
                    self._perform(action)

    def _perform(self, action: Action) -> None:
        match action:
            case RememberEpoch(epoch):
                self.memory.remember_epoch(epoch)
            case RememberHeat(heats):
                self.memory.remember_heats(heats)
            case RememberLearnt(learnt):
                self.memory.remember_learnt(learnt)
            case SendGrant(session, sealed) if session in self._sessions:
                self._around.grant(self._sessions[session], sealed)
        if self._dies_after is not None and isinstance(action, DURABLE):
            self._dies_after -= 1
            if self._dies_after <= 0:
                self._die()
