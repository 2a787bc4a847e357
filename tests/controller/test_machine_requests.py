"""What an operator asks for is checked, written down before it has effect, and done once."""

import math

import pytest

from gpuwarden.controller.events import (
    Event,
    Refuse,
    RememberDomain,
    RememberEpoch,
    Reply,
    SetBudget,
    SetMode,
    Tick,
    WriteLedger,
)
from gpuwarden.controller.machine import Controller, ControllerSetup
from gpuwarden.controller.power.domain import DomainConfig
from gpuwarden.controller.power.keeper import Timing
from gpuwarden.controller.power.node_class import NodeClass
from gpuwarden.controller.remembered import Remembered
from gpuwarden.core.machine import Say
from gpuwarden.proto.control_pb2 import Action as Line
from gpuwarden.proto.control_pb2 import SetBudgetResponse, SetModeResponse
from gpuwarden.proto.lease_pb2 import Mode

NODES = tuple(f"n{i}" for i in range(8))
ROW = DomainConfig("row-a", 60e3, (NodeClass("h100", NODES),), mode="auto")


def controller(*remembered: Remembered, row: DomainConfig = ROW) -> Controller:
    timing = Timing(lease_s=5.0, stale_s=3.0, learn_s=2.5)
    return Controller(ControllerSetup("c1", 6, (row,), remembered, timing), dict.fromkeys(NODES, bytes(32)))


def started(row: DomainConfig = ROW) -> Controller:
    made = controller(row=row)
    made.step(0.0, Tick(1))
    return made


def budget(budget_w: float, request_id: str = "r1", domain: str = "row-a", validate_only: bool = False) -> SetBudget:
    return SetBudget(9, "ann", request_id, domain, budget_w, validate_only)


def mode(mode: "Mode.ValueType", force: bool = False, request_id: str = "m1") -> SetMode:
    return SetMode(9, "ann", request_id, "row-a", mode, force, False)


def refusal(made: Controller, event: Event) -> Refuse:
    (reply,) = made.step(1.0, event)
    assert isinstance(reply, Reply) and isinstance(reply.response, Refuse)
    return reply.response


def test_the_epoch_is_remembered_and_written_down_before_anything_else() -> None:
    first, second, *_ = controller().step(0.0, Tick(1))
    assert first == RememberEpoch(7)
    assert isinstance(second, WriteLedger) and Line.FromString(second.payloads[0]).kind == "epoch"


def test_a_budget_is_in_the_ledger_before_it_is_remembered_and_answered() -> None:
    ledger, memory, reply = started().step(1.0, budget(50e3))
    assert isinstance(ledger, WriteLedger)
    line = Line.FromString(ledger.payloads[0])
    assert (line.kind, line.actor, line.reason) == ("budget", "ann", "budget set from 60,000 to 50,000 W")
    assert memory == RememberDomain("row-a", 50e3, Mode.MODE_AUTO)
    assert isinstance(reply, Reply) and isinstance(reply.response, bytes)
    assert SetBudgetResponse.FromString(reply.response).domain.budget_w == 50e3


@pytest.mark.parametrize(
    ("watts", "code", "says"),
    [
        (-1.0, "INVALID_ARGUMENT", "is -1 W, should be above 0"),
        (math.nan, "INVALID_ARGUMENT", "is nan W"),
        (70e3, "FAILED_PRECONDITION", "above the rating of 60,000 W"),
        (20e3, "FAILED_PRECONDITION", r"below the floors: 8 x (2,300 + 1.1 x 1.05 x 8 x 200 W) + 1 dead"),
    ],
)
def test_a_budget_that_cannot_be_is_refused_with_its_field_and_reason(watts: float, code: str, says: str) -> None:
    refuse = refusal(started(), budget(watts))
    assert (refuse.code, refuse.field) == (code, "budget_w")
    assert says in refuse.message


def test_an_unknown_domain_is_named_with_the_known_ones() -> None:
    refuse = refusal(started(), budget(50e3, domain="row-z"))
    assert (refuse.code, refuse.field) == ("NOT_FOUND", "domain")
    assert "'row-z'; there are row-a" in refuse.message


def test_the_same_request_twice_has_one_effect_and_the_same_answer() -> None:
    made = started()
    *_, first = made.step(1.0, budget(50e3))
    made.step(2.0, budget(55e3, request_id="r2"))
    assert made.step(3.0, budget(50e3)) == [first]
    assert made.keepers["row-a"].budget_w == 55e3


def test_a_request_id_that_comes_back_with_another_wish_is_refused() -> None:
    made = started()
    made.step(1.0, budget(50e3))
    assert refusal(made, budget(51e3)).reason == "REQUEST_ID_REUSED"


def test_a_dry_run_changes_nothing_and_writes_nothing() -> None:
    made = started()
    (reply,) = made.step(1.0, budget(50e3, validate_only=True))
    assert isinstance(reply, Reply)
    assert made.keepers["row-a"].budget_w == 60e3


def test_leaving_auto_is_refused_where_the_breaker_would_not_hold_without_us() -> None:
    made = started()
    refuse = refusal(made, mode(Mode.MODE_OBSERVE))
    assert refuse.code == "FAILED_PRECONDITION"
    assert "may draw 70,144 W at the driver's defaults, its breaker carries 60,000 W" in refuse.message
    *_, reply = made.step(2.0, mode(Mode.MODE_OBSERVE, force=True))
    assert isinstance(reply, Reply) and isinstance(reply.response, bytes)
    assert "may draw 70,144 W" in SetModeResponse.FromString(reply.response).warning
    assert made.keepers["row-a"].mode == Mode.MODE_OBSERVE


@pytest.mark.parametrize("wrong", [Mode.MODE_UNSPECIFIED, Mode.MODE_APPROVE, 99])
def test_a_mode_that_is_not_there_is_refused(wrong: "Mode.ValueType") -> None:
    assert refusal(started(), mode(wrong, force=True)).field == "mode"


def test_a_restart_begins_with_what_the_operator_last_set() -> None:
    made = controller(Remembered("row-a", 48e3, Mode.MODE_NOTIFY))
    made.step(0.0, Tick(1))
    assert (made.keepers["row-a"].budget_w, made.keepers["row-a"].mode) == (48e3, Mode.MODE_NOTIFY)


def test_a_remembered_budget_that_no_longer_fits_is_said_and_left() -> None:
    made = controller(Remembered("row-a", 99e3, Mode.MODE_AUTO))
    said = [a.sentence for a in made.step(0.0, Tick(1)) if isinstance(a, Say)]
    assert said[0].startswith("row-a: the budget that an operator set is 99,000 W, above the rating of 60,000 W")
    assert made.keepers["row-a"].budget_w == 60e3
