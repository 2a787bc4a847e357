"""An agent that keeps back the word to leave auto, and delivers it when the controller is in auto again: real controller, real limiter."""

from dataclasses import dataclass, field

import pytest

from gpuwarden.agent.limiter.card import Card, CardState
from gpuwarden.agent.limiter.events import Action as LimiterAction
from gpuwarden.agent.limiter.events import Directive, LimitsRead, PowerRead, ReadLimits, SendReport, SetLimits
from gpuwarden.agent.limiter.machine import Limiter, LimiterSetup
from gpuwarden.controller.events import Action, ReportArrived, SendGrant, SessionOpened, SetMode, Tick
from gpuwarden.controller.machine import Controller, ControllerSetup
from gpuwarden.controller.power.domain import DomainConfig
from gpuwarden.controller.power.keeper import Timing
from gpuwarden.controller.power.node_class import NodeClass
from gpuwarden.core.seal import Way, unseal
from gpuwarden.proto.lease_pb2 import Grant, Mode

KEY = bytes(32)
GPUS, FLOOR_W, DEFAULT_W = 8, 200.0, 700.0
LEASE_S = 5.0
CARDS = tuple(Card(f"GPU-{i}", DEFAULT_W, 100.0, DEFAULT_W) for i in range(GPUS))


def controller() -> Controller:
    config = DomainConfig("row-a", 60e3, (NodeClass("h100", ("n0",)),), mode="auto")
    return Controller(ControllerSetup("c1", 0, (config,), (), Timing(LEASE_S, 3.0, 2.5)), {"n0": KEY})


@dataclass
class Wire:
    """One node and its controller. The agent between them carries what it likes; both clocks are `now_s`."""

    controller: Controller = field(default_factory=controller)
    limiter: Limiter = field(
        default_factory=lambda: Limiter(LimiterSetup("n0", "s1", CARDS, (FLOOR_W,) * GPUS, 0, Mode.MODE_OBSERVE), KEY)
    )
    now_s: float = 100.0
    limits_w: tuple[float, ...] = (DEFAULT_W,) * GPUS
    carries_reports: bool = True
    carries_grants: bool = True
    kept: list[bytes] = field(default_factory=list)
    requests: int = 0

    def run(self, seconds: float) -> None:
        """What the controller counts is never less than what the node may draw."""
        for _ in range(round(seconds * 10)):
            self.now_s = round(self.now_s + 0.1, 3)
            self.limited(self.limiter.step(self.now_s, PowerRead((150.0,) * GPUS)))
            self.decided(self.controller.step(self.now_s, Tick(0)))
            keeper = self.controller.keepers["row-a"]
            if keeper.mode == Mode.MODE_AUTO:
                assert keeper.nodes[0].exposure.counted(self.now_s)[0] >= sum(self.limits_w) - 1.0, self.now_s

    def limited(self, actions: list[LimiterAction]) -> None:
        for action in actions:
            if isinstance(action, SetLimits):
                self.limits_w = action.limits_w
            if isinstance(action, SetLimits | ReadLimits):
                cards = tuple(CardState(w, w) for w in self.limits_w)
                self.limited(self.limiter.step(self.now_s, LimitsRead(cards, 1, isinstance(action, SetLimits))))
            elif isinstance(action, SendReport) and self.carries_reports:
                self.decided(self.controller.step(self.now_s, ReportArrived(0, action.sealed)))

    def decided(self, actions: list[Action]) -> None:
        for action in actions:
            if isinstance(action, SendGrant) and self.carries_grants:
                self.deliver(action.sealed)
            elif isinstance(action, SendGrant):
                self.kept.append(action.sealed)

    def deliver(self, sealed: bytes) -> None:
        self.limited(self.limiter.step(self.now_s, Directive(sealed)))

    def set_mode(self, mode: "Mode.ValueType") -> None:
        self.requests += 1
        self.decided(self.controller.step(self.now_s, SetMode(self.requests, "ops", str(self.requests), "row-a", mode, True, False)))

    def word_to_leave(self) -> bytes:
        """The newest that was kept back."""
        grants = [(sealed, Grant.FromString(unseal(KEY, Way.DOWN, "n0", sealed))) for sealed in self.kept]
        return [sealed for sealed, grant in grants if grant.mode == Mode.MODE_OBSERVE][-1]


@pytest.fixture
def wire() -> Wire:
    """In auto for a while, then for a second in observe, of which the limiter does not hear, then in auto again."""
    made = Wire()
    made.controller.step(made.now_s, SessionOpened(0, "n0", "test"))
    made.run(12.0)
    assert made.limiter.mode == Mode.MODE_AUTO
    made.carries_grants = False
    made.set_mode(Mode.MODE_OBSERVE)
    made.run(1.5)
    made.set_mode(Mode.MODE_AUTO)
    return made


def test_delivered_after_its_lease_it_is_refused(wire: Wire) -> None:
    wire.run(LEASE_S + 1.0)
    wire.deliver(wire.word_to_leave())
    assert (wire.limiter.mode, wire.limits_w) == (Mode.MODE_AUTO, (FLOOR_W,) * GPUS)
    wire.run(20.0)


@pytest.mark.parametrize("after_s", [0.0, 2.0])
def test_delivered_within_its_lease_and_then_silent_the_node_counts_at_its_default_for_ever(wire: Wire, after_s: float) -> None:
    wire.run(after_s)
    wire.carries_reports = False
    wire.deliver(wire.word_to_leave())
    assert (wire.limiter.mode, wire.limits_w) == (Mode.MODE_OBSERVE, (DEFAULT_W,) * GPUS)
    wire.run(LEASE_S + 30.0)


def test_kept_back_for_good_the_node_counts_at_its_floor_once_the_limiter_must_refuse_it(wire: Wire) -> None:
    exposure = wire.controller.keepers["row-a"].nodes[0].exposure
    wire.run(2.0)
    assert not exposure.known
    wire.run(LEASE_S)
    assert exposure.known


def test_an_honest_agent_is_known_again_as_soon_as_the_limits_are_confirmed(wire: Wire) -> None:
    wire.carries_grants = True
    wire.run(3.0)
    assert wire.controller.keepers["row-a"].nodes[0].exposure.known
