"""Findings and the conditions of a domain become alerts: once, with a ledger line before each, and resolved."""

import pytest
from fakes.limiters import Limiter, Row

from gpuwarden.controller.alerts import FIRING_LIMIT
from gpuwarden.controller.events import Action, FindingArrived, Notify, Tick, WriteLedger
from gpuwarden.controller.machine import Controller, ControllerSetup
from gpuwarden.controller.power.domain import DomainConfig
from gpuwarden.controller.power.keeper import Timing
from gpuwarden.controller.power.node_class import NodeClass
from gpuwarden.controller.remembered import MODES
from gpuwarden.core.machine import Say
from gpuwarden.proto.finding_pb2 import Finding, FindingState, Severity, Subject

NODES = tuple(f"n{i}" for i in range(8))
FIRING, RESOLVED = FindingState.FINDING_STATE_FIRING, FindingState.FINDING_STATE_RESOLVED


def controller(mode: str = "auto") -> Controller:
    row = DomainConfig("row-a", 60e3, (NodeClass("h100", NODES),), mode=mode)
    made = Controller(ControllerSetup("c1", 0, (row,), (), Timing(5.0, 3.0, 2.5)), dict.fromkeys(NODES, bytes(32)))
    made.step(0.0, Tick(1))
    return made


def finding(state: "FindingState.ValueType" = FIRING, id: str = "f1", version: int = 1) -> FindingArrived:
    made = Finding(
        version=version, id=id, kind="xid_79", state=state, severity=Severity.SEVERITY_CRITICAL,
        subject=Subject(node="n3", id="GPU-7"), summary="GPU fell off the bus.", suggested_action="Drain and reset.",
    )
    return FindingArrived(made.SerializeToString())


def notices(actions: list[Action]) -> list[Notify]:
    return [action for action in actions if isinstance(action, Notify)]


def told_by(made: Controller, start_s: float, end_s: float) -> list[Notify]:
    """What people are told of findings from here to there."""
    steps = (made.step(tenth / 10, Tick(tenth)) for tenth in range(round(10 * start_s), round(10 * end_s)))
    return [notice for actions in steps for notice in notices(actions) if "xid" in notice.title]


def test_a_finding_is_in_the_ledger_before_people_are_told() -> None:
    made = controller()
    (line,) = made.step(1.0, finding())
    assert isinstance(line, WriteLedger)
    (notice,) = told_by(made, 1.1, 8.0)
    assert (notice.firing, notice.title, notice.subject) == (True, "xid_79 on n3/GPU-7", "n3/GPU-7")
    assert notice.text == "GPU fell off the bus. Drain and reset."


def test_a_finding_that_is_said_again_is_told_once_and_resolved_once() -> None:
    made = controller()
    made.step(1.0, finding())
    assert made.step(2.0, finding()) == []
    assert [notice.firing for notice in told_by(made, 2.1, 20.0)] == [True]
    made.step(20.0, finding(RESOLVED))
    assert [notice.firing for notice in told_by(made, 20.1, 40.0)] == [False]
    assert made.step(41.0, finding(RESOLVED)) == []


def test_a_finding_that_cannot_be_is_refused_with_its_field() -> None:
    made = controller()
    (garbage,) = made.step(1.0, FindingArrived(b"\xff\xff"))
    (future,) = made.step(1.0, finding(version=9))
    assert isinstance(garbage, Say) and "does not parse" in garbage.sentence
    assert isinstance(future, Say) and "version: is 9, this controller knows 1" in future.sentence


def test_firing_findings_are_bounded() -> None:
    made = controller()
    for number in range(FIRING_LIMIT):
        made.step(1.0, finding(id=str(number)))
    (refused,) = made.step(1.0, finding(id="one more"))
    assert isinstance(refused, Say) and "left out" in refused.sentence


def test_nodes_that_nobody_vouches_for_call_a_person_once_learning_is_over() -> None:
    made, told = controller(), []
    for tenth in range(1, 150):
        told += notices(made.step(tenth / 10, Tick(tenth)))
    assert {n.title for n in told} == {"row-a: unaccounted", "row-a: does-not-hold", "row-a: over-budget"}
    assert len(told) == 3


def test_while_a_fresh_controller_learns_nobody_is_called() -> None:
    made = controller()
    for tenth in range(1, 25):
        assert notices(made.step(tenth / 10, Tick(tenth))) == []


@pytest.mark.parametrize(("before", "after", "kind"), [("notify", "observe", "would-cap"), ("auto", "observe", "unaccounted"), ("auto", "notify", "does-not-hold")])
def test_what_fires_in_one_mode_alone_ends_when_the_mode_is_another(before: str, after: str, kind: str) -> None:
    made = controller(before)
    keeper = made.keepers["row-a"]
    row = Row(made, [Limiter(node, demand_w=5600.0) for node in NODES] if kind == "would-cap" else [])
    row.connect()
    row.run(20.0)
    assert f"row-a: {kind}" in {notice.title for notice in notices(row.done)}
    keeper.set_mode(MODES[after])
    row.done.clear()
    row.run(60.0)
    assert [notice.firing for notice in notices(row.done) if notice.title == f"row-a: {kind}"] == [False]
