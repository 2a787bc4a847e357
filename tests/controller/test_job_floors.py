"""What a job keeps: asked for, held against what limits carry, left to its nodes by the policy, remembered, and over in time."""

from pathlib import Path

import pytest
from fakes.limiters import KEY, Limiter, Row

from gpuwarden.controller.events import (
    Action,
    EndJobFloor,
    Event,
    Refuse,
    RememberJobFloor,
    Reply,
    SetJobFloor,
    WriteLedger,
)
from gpuwarden.controller.job_floors import floor_of
from gpuwarden.controller.ledger import Ledger
from gpuwarden.controller.machine import Controller, ControllerSetup
from gpuwarden.controller.power.domain import DomainConfig
from gpuwarden.controller.power.keeper import Timing
from gpuwarden.controller.power.least import JobFloor
from gpuwarden.controller.power.node_class import NodeClass
from gpuwarden.core.machine import Say
from gpuwarden.proto import control_pb2 as pb

NODES = tuple(f"n{i}" for i in range(8))
HOURS_NS = 3_600 * 10**9


def controller(policy: str = "headroom", rating_w: float = 50e3, floors: tuple[JobFloor, ...] = ()) -> Controller:
    config = DomainConfig("row-a", rating_w, (NodeClass("h100", NODES),), mode="auto", policy=policy)
    return Controller(ControllerSetup("c1", 0, (config,), (), Timing(5.0, 3.0, 2.5), job_floors=floors), dict.fromkeys(NODES, KEY))


def floor(id: str = "r1", **changes: object) -> SetJobFloor:
    asked = {"job": "4711", "nodes": ("n[0-1]",), "floor_w": 500.0, "duration_s": 3600.0, "validate_only": False, **changes}
    return SetJobFloor(1, "operator alice", id, **asked)  # type: ignore[arg-type]  # what is asked for varies


def answer(actions: list[Action]) -> bytes | Refuse:
    (reply,) = [action for action in actions if isinstance(action, Reply)]
    return reply.response


def refusal(made: Controller, request: Event) -> Refuse:
    response = answer(made.step(1.0, request))
    assert isinstance(response, Refuse), response
    return response


def pressed(made: Controller, demand_w: float = 4400.0) -> Row:
    """A row whose load would be far above its rating."""
    row = Row(made, [Limiter(node, demand_w) for node in NODES])
    row.connect()
    row.run(60.0)
    return row


def test_what_a_job_keeps_its_nodes_are_left_and_the_others_give_instead() -> None:
    made = controller()
    made.step(0.0, floor())
    row = pressed(made)
    kept, others = row.limiters[:2], row.limiters[2:]
    assert min(limiter.enforced_w for limiter in kept) >= 8 * 500.0
    assert max(limiter.enforced_w for limiter in others) < 8 * 500.0
    without = pressed(controller())
    assert max(limiter.enforced_w for limiter in without.limiters) < 8 * 500.0


def test_a_floor_that_is_set_while_all_are_capped_brings_its_nodes_back_up() -> None:
    made = controller()
    row = pressed(made)
    assert row.limiters[0].enforced_w < 8 * 600.0
    row.perform(made.step(row.now_s, floor(floor_w=600.0)))
    row.run(20.0)
    assert min(limiter.enforced_w for limiter in row.limiters[:2]) >= 8 * 600.0
    reason = next(line.reason for line in reversed(row.lines) if line.subject == "n0")
    assert reason.endswith("; job 4711 keeps 600 W"), reason


def test_it_is_written_down_remembered_and_known_after_a_restart() -> None:
    made = controller()
    actions = made.step(1.0, floor())
    (line,) = [pb.Action.FromString(one) for action in actions if isinstance(action, WriteLedger) for one in action.payloads if b"job-floor" in one]
    assert (line.subject, line.actor) == ("4711", "operator alice") and line.reason == "2 nodes keep 500 W a GPU for 3,600 s"
    (kept,) = [action for action in actions if isinstance(action, RememberJobFloor)]
    assert kept.payload is not None
    again = controller(floors=(floor_of(kept.payload),))
    assert again.keepers["row-a"].wishing.least.watts.tolist() == [4000.0] * 2 + [1600.0] * 6
    shown = pb.SetJobFloorResponse.FromString(answer(actions)).floor  # type: ignore[arg-type]  # no refusal, or it fails
    assert list(shown.nodes) == ["n0", "n1"] and shown.until_unix_ns == HOURS_NS


def test_it_ends_by_its_time_and_by_word() -> None:
    made = controller()
    row = Row(made, [Limiter(node) for node in NODES])
    row.connect()
    row.perform(made.step(row.now_s, floor(duration_s=5.0)))
    row.perform(made.step(row.now_s, floor("r2", job="4712", nodes=("n7",))))
    least = made.keepers["row-a"].wishing.least
    assert least.jobs == ("4711", "4711", "", "", "", "", "", "4712")
    row.run(6.0)
    assert made.keepers["row-a"].wishing.least.jobs == ("",) * 7 + ("4712",)
    assert RememberJobFloor("4711", None) in row.done
    row.perform(made.step(row.now_s, EndJobFloor(2, "operator bob", "r3", "4712")))
    assert set(made.keepers["row-a"].wishing.least.jobs) == {""}
    assert refusal(made, EndJobFloor(3, "operator bob", "r4", "4712")).reason == "NO_SUCH_FLOOR"


def test_the_same_request_is_one_and_a_dry_run_is_none() -> None:
    made = controller()
    assert not [action for action in made.step(1.0, floor(validate_only=True)) if isinstance(action, RememberJobFloor)]
    first, second = made.step(1.0, floor()), made.step(1.0, floor())
    assert answer(first) == answer(second) and len(second) == 1


def test_again_for_the_same_job_takes_the_place_of_what_it_kept() -> None:
    made = controller()
    made.step(1.0, floor())
    made.step(1.0, floor("r2", nodes=("n5",), floor_w=300.0))
    assert made.keepers["row-a"].wishing.least.watts.tolist() == [1600.0] * 5 + [2400.0] + [1600.0] * 2


@pytest.mark.parametrize(
    ("changes", "reason", "field", "said"),
    [
        ({"job": " "}, "NO_JOB", "job", "is empty"),
        ({"nodes": ()}, "NO_NODES", "nodes", "are none"),
        ({"nodes": ("n[0-",)}, "BAD_HOSTLIST", "nodes", "n[0-"),
        ({"nodes": ("n0", "x1")}, "UNKNOWN_NODE", "nodes", "x1 in no power domain"),
        ({"floor_w": 200.0}, "BAD_FLOOR", "floor_w", "should be above 200 and at most 700 W for class 'h100'"),
        ({"floor_w": 701.0}, "BAD_FLOOR", "floor_w", "is 701 W"),
        ({"floor_w": float("nan")}, "BAD_FLOOR", "floor_w", "is nan W"),
        ({"duration_s": 0.0}, "BAD_DURATION", "duration_s", "above 0"),
        ({"nodes": ("n[0-7]",), "floor_w": 600.0}, "FLOORS_DO_NOT_FIT", "floor_w", "row-a carries 50,000 W, with it the floors of jobs and classes would be"),
    ],
)
def test_what_cannot_be_is_refused_with_field_and_reason(changes: dict[str, object], reason: str, field: str, said: str) -> None:
    why = refusal(controller(), floor(**changes))
    assert (why.reason, why.field) == (reason, field) and said in why.message


def test_floors_add_up_until_they_no_longer_fit() -> None:
    made = controller()
    for job in range(2):
        assert not isinstance(answer(made.step(1.0, floor(f"r{job}", job=str(job), nodes=(f"n{job}",), floor_w=700.0))), Refuse)
    last = floor("r9", job="9", nodes=("n[3-7]",), floor_w=600.0)
    assert refusal(made, last).reason == "FLOORS_DO_NOT_FIT"
    made.step(1.0, EndJobFloor(2, "operator alice", "e", "0"))
    assert made.keepers["row-a"].wishing.least.jobs[:2] == ("", "1")


def test_a_policy_that_knows_no_floors_refuses_them_and_says_so_of_those_it_finds() -> None:
    assert refusal(controller("fair-share"), floor()).reason == "POLICY_KNOWS_NO_FLOORS"
    found = controller("polca", floors=(JobFloor("4711", ("n0", "gone"), 500.0, HOURS_NS, "operator alice"),))
    said = [action.sentence for action in found.step(0.0, floor("r2", job="4712")) if isinstance(action, Say)]
    assert "row-a: policy polca knows no floors of jobs: 1 are remembered and not kept" in said


def test_the_ledger_keeps_them(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    ledger.remember_job_floor("4711", b"a")
    ledger.remember_job_floor("4711", b"b")
    ledger.remember_job_floor("4712", b"c")
    ledger.remember_job_floor("4712", None)
    ledger.close()
    again = Ledger(tmp_path / "ledger.sqlite")
    assert again.job_floors() == (b"b",)
    again.close()
