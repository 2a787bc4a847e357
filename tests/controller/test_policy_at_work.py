"""What a policy needs of the controller, and what becomes of its wishes: the measured lag, locks in grants, lines that say why."""

import dataclasses

import numpy as np
import pytest
from fakes.limiters import KEY, Limiter, Row

from gpuwarden.controller.events import RememberLearnt
from gpuwarden.controller.machine import Controller, ControllerSetup
from gpuwarden.controller.power import keeper as keeper_module
from gpuwarden.controller.power.domain import DomainConfig
from gpuwarden.controller.power.keeper import Keeper, Timing
from gpuwarden.controller.power.learnt_kept import LimitLearnt
from gpuwarden.controller.power.node_class import NodeClass
from gpuwarden.controller.record import FIRST_LAG_S
from gpuwarden.proto.lease_pb2 import Mode

LOW, HIGH = tuple(f"l{place}" for place in range(4)), tuple(f"h{place}" for place in range(4))
MAX_HZ = 1.98e9


def row(policy: str, rating_w: float = 60e3, mode: str = "auto", demand_w: float = 3000.0, clock_max_hz: float = MAX_HZ, learnt: tuple[LimitLearnt, ...] = ()) -> tuple[Row, Keeper]:
    classes = (NodeClass("low", LOW, priority="low"), NodeClass("high", HIGH))
    config = DomainConfig("row-a", rating_w, classes, mode=mode, policy=policy)
    assert list(config.problems()) == []
    controller = Controller(ControllerSetup("c1", 0, (config,), (), Timing(5.0, 3.0, 2.5), learnt=learnt), dict.fromkeys(LOW + HIGH, KEY))
    made = Row(controller, [Limiter(node, demand_w, clock_max_hz=clock_max_hz) for node in LOW + HIGH])
    made.connect()
    return made, controller.keepers["row-a"]


def test_the_lag_is_measured_from_a_grant_to_the_report_that_it_is_obeyed() -> None:
    made, keeper = row("headroom")
    made.run(2.6)
    assert {node.lag_s for node in keeper.nodes} == {FIRST_LAG_S}
    made.run(20.0)
    lags_s = [node.lag_s for node in keeper.nodes]
    assert all(0.0 < lag_s <= 1.0 for lag_s in lags_s), "the next report comes within a second"
    assert len(set(lags_s)) > 1


def test_a_policys_locks_go_out_with_every_grant_and_are_written_down_once() -> None:
    made, keeper = row("polca", demand_w=4200.0)
    made.run(60.0)
    assert keeper.loads.drawn_w > 0.89 * 60e3
    assert {limiter.clocks_hz for limiter in made.limiters[:4]} == {(1.56e9,) * 8}, "0.787 of the highest, to the nearest 15 MHz"
    lines = [line for line in made.lines if line.kind == "clock"]
    made.run(5.0)
    assert [line for line in made.lines if line.kind == "clock"] == lines
    reasons = [line.reason for line in lines if line.subject == "l0"]
    assert reasons[-1].startswith("clocks locked to 1560 MHz: row-a draws up to ")
    assert "polca: above 89% clocks of the low priority are locked at 79%" in reasons[-1]


def test_a_node_that_cannot_be_locked_is_not() -> None:
    made, _ = row("polca", demand_w=4200.0, clock_max_hz=0.0)
    made.run(15.0)
    assert {limiter.clocks_hz for limiter in made.limiters} == {()}
    assert not [line for line in made.lines if line.kind == "clock"]


def test_a_line_says_what_the_policy_did_and_why() -> None:
    made, _ = row("headroom")
    made.run(15.0)
    for limiter in made.limiters:
        limiter.demand_w = 5000.0
    made.run(10.0)
    reasons = {line.subject: line.reason for line in made.lines if line.kind in ("cap", "floor")}
    assert "headroom: at " in reasons["l0"] and "priorities give" in reasons["l0"]


@pytest.mark.parametrize("policy", ["headroom", "dynamo", "polca", "none", "fair-share"])
def test_in_observe_the_same_is_decided_and_nothing_done(policy: str) -> None:
    made, keeper = row(policy, mode="observe", demand_w=4600.0)
    made.run(20.0)
    assert keeper.mode == Mode.MODE_OBSERVE
    assert {limiter.enforced_w for limiter in made.limiters} == {5600.0}
    assert not any(line.performed for line in made.lines if line.kind in ("cap", "clock"))


def test_the_same_events_lead_to_the_same_grants() -> None:
    def ran() -> list[object]:
        made, _ = row("headroom", demand_w=4400.0)
        made.run(10.0)
        for limiter in made.limiters:
            limiter.demand_w = 2000.0
        made.run(90.0)
        return [dataclasses.astuple(action) for action in made.done if dataclasses.is_dataclass(action) and type(action).__name__ == "SendGrant"]

    assert ran() == ran()


def test_lower_limits_first_and_a_stateful_policy_keeps_them_apart() -> None:
    _, keeper = row("headroom")
    assert keeper.wishing.states == {}
    made, keeper = row("headroom", demand_w=4400.0)
    made.run(10.0)
    assert set(keeper.wishing.states) == {0}
    assert np.array_equal(keeper.wishing.ranks.priority, [0] * 4 + [1] * 4)


def learnt(made: Row) -> list[RememberLearnt]:
    return [action for action in made.done if isinstance(action, RememberLearnt)]


def test_what_a_policy_has_learnt_is_kept_now_and_then_and_a_restart_goes_on_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper_module, "EVERY_S", 120.0)
    made, keeper = row("headroom", demand_w=2000.0)
    made.run(60.0)
    for limiter in made.limiters:
        limiter.demand_w = 3000.0
    made.run(55.0)
    assert learnt(made) == []
    made.run(30.0)
    (kept,) = learnt(made)
    rises = keeper.wishing.states[0].rises
    assert rises.highest()[0] > 0.118, "the step was larger than what is taken for granted"
    again, after = row("headroom", demand_w=3000.0, learnt=kept.learnt)
    again.run(10.0)
    assert after.wishing.states[0].rises.highest() == rises.highest()
    fresh, cautious = row("headroom", demand_w=3000.0)
    fresh.run(10.0)
    assert cautious.wishing.states[0].rises.highest()[0] == pytest.approx(0.12) != rises.highest()[0]


@pytest.mark.parametrize(
    "changes", [{"policy": "polca"}, {"rating_w": 61e3}, {"limit": "row-b"}, {"learnt": b"\0" * 508}, {"learnt": b"\0\0\xc0\xff" * 128}, {"learnt": b"\0\0\x80\xbf" * 128}]
)
def test_what_was_learnt_of_something_else_or_cannot_be_read_is_left_out(changes: dict[str, object]) -> None:
    sound = LimitLearnt("row-a", "row-a", "headroom", 60e3, np.eye(1, 128, 100, dtype="<f4").tobytes())
    made, keeper = row("headroom", learnt=(sound,))
    made.run(5.0)
    assert keeper.wishing.states[0].rises.highest()[0] == 0.5
    made, keeper = row("headroom", learnt=(dataclasses.replace(sound, **changes),))  # type: ignore[arg-type]  # a test's keywords
    made.run(5.0)
    assert keeper.wishing.states[0].rises.highest()[0] == pytest.approx(0.12)
