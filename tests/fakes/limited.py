"""A limiter's machine on cards that take a limit at once, and its controller's side reduced to grants."""

from dataclasses import dataclass, field

from gpuwarden.agent.limiter.card import Card, CardState
from gpuwarden.agent.limiter.events import (
    Action,
    Directive,
    LimitsRead,
    PowerRead,
    ReadLimits,
    SendReport,
    SetLimits,
)
from gpuwarden.agent.limiter.machine import Limiter, LimiterSetup
from gpuwarden.core.machine import Say
from gpuwarden.core.seal import Way, seal, unseal
from gpuwarden.proto.lease_pb2 import Grant, Mode, PowerReport

KEY = bytes(range(32))
DEFAULT_W, FLOOR_W, LEASE_S = 700.0, 200.0, 5.0
CARDS = tuple(Card(f"GPU-{i}", DEFAULT_W, 200.0, DEFAULT_W) for i in range(2))
SETUP = LimiterSetup("n1", "start-1", CARDS, (FLOOR_W,) * 2, 0, Mode.MODE_OBSERVE)


@dataclass
class Node:
    """A limiter on cards that take a limit at once."""

    limiter: Limiter = field(default_factory=lambda: Limiter(SETUP, KEY))
    now_s: float = 100.0
    limits_w: tuple[float, ...] = (DEFAULT_W,) * 2
    power_w: tuple[float, ...] = (150.0, 150.0)
    driver_loads: int = 1
    done: list[Action] = field(default_factory=list)
    sequence: int = 0

    def perform(self, actions: list[Action]) -> list[Action]:
        self.done += actions
        for action in actions:
            if isinstance(action, SetLimits):
                self.limits_w = action.limits_w
            if isinstance(action, SetLimits | ReadLimits):
                cards = tuple(CardState(w, w) for w in self.limits_w)
                self.perform(self.limiter.step(self.now_s, LimitsRead(cards, self.driver_loads, isinstance(action, SetLimits))))
        return actions

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds * 10)):
            self.now_s = round(self.now_s + 0.1, 3)
            self.perform(self.limiter.step(self.now_s, PowerRead(self.power_w)))

    def reports(self) -> list[PowerReport]:
        return [PowerReport.FromString(unseal(KEY, Way.UP, "n1", a.sealed)) for a in self.done if isinstance(a, SendReport)]

    def grant(self, limit_w: float = 500.0, key: bytes = KEY, way: Way = Way.DOWN, **changed: object) -> list[Action]:
        self.sequence += 1
        made = Grant(
            version=1, node="n1", epoch=5, controller_id="c1", sequence=self.sequence, echo_limiter_start="start-1",
            echo_stamp_s=self.reports()[-1].stamp_s, lease_s=LEASE_S, limits_w=[limit_w] * 2, mode=Mode.MODE_AUTO,
        )
        for name, value in changed.items():
            if name in ("limits_w", "clocks_hz"):
                made.ClearField(name)  # type: ignore[arg-type]  # one of the two
                getattr(made, name).extend(value)
            else:
                setattr(made, name, value)
        return self.perform(self.limiter.step(self.now_s, Directive(seal(key, way, "n1", made.SerializeToString()))))

    def said(self) -> list[str]:
        return [a.sentence for a in self.done if isinstance(a, Say)]
