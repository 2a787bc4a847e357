"""Racks, maintenance windows, acknowledgements and the heartbeat, through the machine and over a restart."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import grpc
import pytest
from fakes.limiters import KEY, Limiter, Row

from gpuwarden.controller.alerts import AlertSetup
from gpuwarden.controller.config import ControllerConfig
from gpuwarden.controller.events import (
    Acknowledge,
    Action,
    Beat,
    EndMaintenance,
    Event,
    FindingArrived,
    Notify,
    OpenMaintenance,
    Publish,
    Refuse,
    RememberMaintenance,
    Reply,
    Tick,
    WriteLedger,
)
from gpuwarden.controller.machine import Controller, ControllerSetup
from gpuwarden.controller.main import ControllerShell
from gpuwarden.controller.maintenance import Window
from gpuwarden.controller.people import window_of
from gpuwarden.controller.power.domain import DomainConfig
from gpuwarden.controller.power.keeper import Timing
from gpuwarden.controller.power.node_class import NodeClass
from gpuwarden.controller.racks import RackConfig
from gpuwarden.proto import control_pb2 as pb
from gpuwarden.proto.control_pb2_grpc import ControlServiceStub
from gpuwarden.proto.finding_pb2 import Finding, FindingState, Severity, Subject

NODES = tuple(f"n{i}" for i in range(8))
HOUR_NS = 3_600 * 10**9
T = TypeVar("T")


def controller(alerts: AlertSetup | None = None) -> Controller:
    row = DomainConfig("row-a", 60e3, (NodeClass("h100", NODES),), mode="auto")
    return Controller(ControllerSetup("c1", 0, (row,), (), Timing(5.0, 3.0, 2.5), alerts or AlertSetup()), dict.fromkeys(NODES, bytes(32)))


def finding(node: str, firing: bool = True) -> FindingArrived:
    state = FindingState.FINDING_STATE_FIRING if firing else FindingState.FINDING_STATE_RESOLVED
    made = Finding(
        version=1, id=f"stale-{node}", kind="node_stale", state=state, severity=Severity.SEVERITY_WARNING, subject=Subject(node=node),
        summary="No telemetry.", suggested_action="Look.",
    )
    return FindingArrived(made.SerializeToString())


def ticks(made: Controller, start_s: float, end_s: float) -> list[Action]:
    """A tick each tenth; the wall clock goes with the monotonic one."""
    return [action for tenth in range(round(10 * start_s), round(10 * end_s)) for action in made.step(tenth / 10, Tick(tenth * 10**8))]


def of(kind: type[T], actions: list[Action]) -> list[T]:
    return [action for action in actions if isinstance(action, kind)]


def reply(actions: list[Action]) -> bytes:
    answer = of(Reply, actions)[0].response
    assert isinstance(answer, bytes), answer
    return answer


def refusal(made: Controller, request: Event) -> Refuse:
    (answer,) = of(Reply, made.step(1.0, request))
    assert isinstance(answer.response, Refuse)
    return answer.response


def about_nodes(actions: list[Action]) -> list[str]:
    return [notice.title for notice in of(Notify, actions) if "node_stale" in notice.title]


def maintenance(id: str = "r1", **changes: object) -> OpenMaintenance:
    asked = {"nodes": ("n[0-3]",), "domain": "", "duration_s": 3600.0, "reason": "new power shelf", "validate_only": False, **changes}
    return OpenMaintenance(1, "operator alice", id, **asked)  # type: ignore[arg-type]  # what is asked for varies


# A rack that is down is one alert.


def test_a_rack_that_is_down_is_one_alert_and_its_nodes_are_told_of_when_it_is_back_and_they_are_not() -> None:
    made = controller(AlertSetup(racks=(RackConfig("rack-1", ("n[0-3]",)),)))
    row = Row(made, [Limiter(node) for node in NODES])
    row.connect()
    row.run(10.0)
    row.silent = {"n0", "n1", "n2", "n3"}
    for node in row.silent:
        row.perform(made.step(row.now_s, finding(node)))
    row.done.clear()
    row.run(60.0)
    assert [notice.title for notice in of(Notify, row.done)] == ["rack-1: rack-down"]
    row.silent = {"n3"}
    for node in ("n0", "n1", "n2"):
        row.perform(made.step(row.now_s, finding(node, firing=False)))
    row.done.clear()
    row.run(60.0)
    told = {(notice.title, notice.firing) for notice in of(Notify, row.done)}
    assert told == {("rack-1: rack-down", False), ("node_stale on n3", True)}


def restarted_rack(silent: set[str], windows: tuple[Window, ...] = ()) -> Row:
    """A controller that starts while these nodes, of a rack or not, say nothing; a minute later."""
    made = controller(AlertSetup(racks=(RackConfig("rack-1", ("n[0-3]",)),), windows=windows))
    row = Row(made, [Limiter(node) for node in NODES], silent=silent)
    row.connect()
    row.run(60.0)
    return row


def test_a_rack_that_was_never_heard_is_down_and_explains_what_nobody_vouches_for() -> None:
    row = restarted_rack({"n0", "n1", "n2", "n3"})
    assert [notice.title for notice in of(Notify, row.done)] == ["rack-1: rack-down"]


def test_nodes_that_nobody_vouches_for_beside_a_rack_that_is_down_are_told_of() -> None:
    row = restarted_rack({"n0", "n1", "n2", "n3", "n6", "n7"})
    (notice,) = [notice for notice in of(Notify, row.done) if notice.title == "row-a: unaccounted"]
    assert "rack-1: rack-down" in {notice.title for notice in of(Notify, row.done)}
    assert "for 2 nodes of row-a" in notice.text


def test_a_rack_is_not_down_while_a_fresh_controller_waits_to_hear_from_it() -> None:
    made = controller(AlertSetup(racks=(RackConfig("rack-1", ("n[0-3]",)),)))
    ticks(made, 0.0, 2.4)
    assert made._alerts._racks_down == set()


# Maintenance.


@pytest.mark.parametrize(("nodes", "domain"), [(("n0", "n1", "n2", "n3"), ""), (("n0", "n1", "n2"), ""), ((), "row-a")])
def test_of_a_rack_under_maintenance_nobody_is_told(nodes: tuple[str, ...], domain: str) -> None:
    window = Window("m1", nodes, domain, HOUR_NS, "new power shelf", "operator alice")
    row = restarted_rack({"n0", "n1", "n2", "n3"}, (window,))
    assert of(Notify, row.done) == []


def test_windows_opened_at_the_same_time_are_two() -> None:
    made = controller()
    ticks(made, 0.0, 1.0)
    first, second = (of(RememberMaintenance, made.step(1.0, maintenance(f"r{number}", nodes=(f"n{number}",)))) for number in range(2))
    assert first[0].id != second[0].id
    for node in ("n0", "n1"):
        made.step(1.0, finding(node))
    assert about_nodes(ticks(made, 1.0, 10.0)) == []


def test_alerts_of_a_window_are_in_the_ledger_and_told_to_nobody_until_it_ends() -> None:
    made = controller()
    ticks(made, 0.0, 1.0)
    made.step(1.0, maintenance())
    (line,) = of(WriteLedger, made.step(1.0, finding("n2")))
    assert b"node_stale" not in line.payloads[0] and b"No telemetry." in line.payloads[0]
    assert about_nodes(ticks(made, 1.0, 100.0)) == []
    over = ticks(made, 3600.0, 3610.0)
    assert [(forgotten.payload, forgotten.id) for forgotten in of(RememberMaintenance, over)] == [(None, f"m{900_000_000 + HOUR_NS}")]
    assert about_nodes(over) == ["node_stale on n2"]


def test_nodes_outside_the_window_are_told_of() -> None:
    made = controller()
    ticks(made, 0.0, 1.0)
    made.step(1.0, maintenance())
    made.step(1.0, finding("n5"))
    assert about_nodes(ticks(made, 1.0, 10.0)) == ["node_stale on n5"]


def test_a_window_over_a_domain_covers_its_own_conditions_too() -> None:
    made = controller()
    ticks(made, 0.0, 1.0)
    made.step(1.0, maintenance(nodes=(), domain="row-a"))
    assert of(Notify, ticks(made, 1.0, 100.0)) == []


def test_a_restart_still_knows_the_window() -> None:
    made = controller()
    ticks(made, 0.0, 1.0)
    (kept,) = of(RememberMaintenance, made.step(1.0, maintenance()))
    assert kept.payload is not None
    again = controller(AlertSetup(windows=(window_of(kept.payload),)))
    again.step(2.0, finding("n0"))
    assert about_nodes(ticks(again, 2.0, 50.0)) == []


def test_ended_before_its_time_it_covers_nothing() -> None:
    made = controller()
    ticks(made, 0.0, 1.0)
    opened = pb.OpenMaintenanceResponse.FromString(reply(made.step(1.0, maintenance()))).maintenance
    made.step(1.0, finding("n0"))
    ended = made.step(2.0, EndMaintenance(2, "operator bob", "r2", opened.id))
    assert of(RememberMaintenance, ended) == [RememberMaintenance(opened.id, None)]
    assert about_nodes(ticks(made, 2.0, 20.0)) == ["node_stale on n0"]


def test_the_same_request_twice_opens_one_window_and_a_trial_opens_none() -> None:
    made = controller()
    ticks(made, 0.0, 1.0)
    assert of(WriteLedger, made.step(1.0, maintenance(validate_only=True))) == []
    assert len(of(WriteLedger, made.step(1.0, maintenance()))) == 1
    assert of(WriteLedger, made.step(1.0, maintenance())) == []
    assert refusal(made, maintenance(reason="another")).reason == "REQUEST_ID_REUSED"


@pytest.mark.parametrize(
    ("changes", "field", "reason"),
    [
        ({"nodes": (), "domain": ""}, "nodes", "NODES_OR_DOMAIN"),
        ({"domain": "row-a"}, "nodes", "NODES_OR_DOMAIN"),
        ({"nodes": ("n9",)}, "nodes", "UNKNOWN_NODE"),
        ({"nodes": ("n[3-",)}, "nodes", "BAD_HOSTLIST"),
        ({"nodes": (), "domain": "row-z"}, "domain", "UNKNOWN_DOMAIN"),
        ({"duration_s": 0.0}, "duration_s", "BAD_DURATION"),
        ({"duration_s": float("nan")}, "duration_s", "BAD_DURATION"),
        ({"duration_s": 1e9}, "duration_s", "BAD_DURATION"),
        ({"reason": " "}, "reason", "NO_REASON"),
    ],
)
def test_a_window_that_cannot_be_is_refused_with_its_field(changes: dict[str, object], field: str, reason: str) -> None:
    refused = refusal(controller(), maintenance(**changes))
    assert (refused.field, refused.reason) == (field, reason)


# Acknowledging, and the heartbeat.


def test_what_is_muted_after_what_was_told_of_is_over_is_shown_as_not_told_yet() -> None:
    made = controller()
    ticks(made, 0.0, 1.0)
    made.step(1.0, finding("n5"))
    ticks(made, 1.0, 8.0)
    made.step(8.0, maintenance())
    made.step(8.0, finding("n0"))
    made.step(8.0, finding("n5", firing=False))
    over = ticks(made, 8.0, 12.0)
    assert [notice.firing for notice in of(Notify, over) if "node_stale" in notice.title] == [False]
    (shown,) = [one for one in of(Publish, over)[-1].snapshot.alerts if one.key == "row-a/node_stale"]
    assert (shown.title, shown.level) == ("node_stale on n0", 0)


def test_what_is_acknowledged_is_in_the_ledger_with_who_did_it() -> None:
    made = controller()
    made.step(1.0, finding("n0"))
    ticks(made, 1.0, 10.0)
    line, answer = made.step(10.0, Acknowledge(1, "operator alice", "a1", "row-a/node_stale"))
    assert isinstance(line, WriteLedger) and b"operator alice" in line.payloads[0]
    assert pb.AcknowledgeAlertResponse.FromString(reply([answer])).alert.acknowledged_by == "operator alice"
    assert refusal(made, Acknowledge(2, "operator alice", "a2", "row-a/nothing")).reason == "NO_SUCH_ALERT"


def test_the_heart_beats_with_the_ticks_and_with_nothing_else() -> None:
    made = controller(AlertSetup(beat_s=30.0))
    assert len(of(Beat, ticks(made, 0.0, 100.0))) == 4
    assert of(Beat, made.step(200.0, finding("n0"))) == [], "a decider whose ticks do not come is silent"
    assert of(Beat, ticks(controller(), 0.0, 40.0)) == [], "nobody listens"


# By gRPC, over a restart of the daemon.


def test_a_window_opened_by_grpc_outlives_the_controller_and_is_listed(
    controller_config: ControllerConfig, refusal: Callable[[Callable[[], object]], tuple[str, str, str, str]]
) -> None:
    keys = dict.fromkeys(("n0", "n1", "n2", "n3"), KEY)
    with ControllerShell(controller_config, keys) as shell, grpc.insecure_channel(str(shell.address)) as channel:
        request = pb.OpenMaintenanceRequest(nodes=["n[0-1]"], duration_s=600.0, reason="fans")
        opened = ControlServiceStub(channel).OpenMaintenance(request, timeout=10).maintenance
        assert list(opened.nodes) == ["n0", "n1"] and opened.actor == "operator at 127.0.0.1"
        bad = pb.OpenMaintenanceRequest(nodes=["n0"], duration_s=-1.0, reason="fans")
        assert refusal(lambda: ControlServiceStub(channel).OpenMaintenance(bad, timeout=10))[2] == "duration_s"
    with ControllerShell(controller_config, keys) as shell, grpc.insecure_channel(str(shell.address)) as channel:
        stub = ControlServiceStub(channel)
        assert stub.EndMaintenance(pb.EndMaintenanceRequest(id=opened.id), timeout=10).maintenance == opened
        listed = stub.ListAlerts(pb.ListAlertsRequest(), timeout=10, wait_for_ready=True)
        assert list(listed.maintenance) in ([], [opened]), "as the newest snapshot has it"


def test_a_ledger_of_the_version_before_gets_the_table_that_it_lacks(tmp_path: Path) -> None:
    from gpuwarden.controller.ledger import Ledger

    ledger = Ledger(tmp_path / "ledger.sqlite")
    ledger._writing.execute("DROP TABLE maintenance")
    ledger.close()
    again = Ledger(tmp_path / "ledger.sqlite")
    again.remember_maintenance("m1", b"x")
    assert again.maintenance() == (b"x",)
    again.close()
