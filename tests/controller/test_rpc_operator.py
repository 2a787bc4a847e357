"""Operators' calls: pages, refusals with field and reason, watching, health and reflection."""

import math
import threading
import time
from collections.abc import Callable, Iterator

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from gpuwarden.controller.events import Event, Reply, SetBudget
from gpuwarden.controller.ledger import Ledger
from gpuwarden.controller.main import ControllerShell
from gpuwarden.controller.rpc import CannotListen, Rpc
from gpuwarden.controller.snapshot import Board
from gpuwarden.core.address import Address
from gpuwarden.proto import control_pb2 as pb
from gpuwarden.proto.control_pb2_grpc import ControlServiceStub
from gpuwarden.proto.finding_pb2 import Finding, FindingState
from gpuwarden.proto.lease_pb2 import Mode


class Server:
    """A gRPC server whose decider is `decide`: by default it takes every event and never answers."""

    def __init__(self, ledger: Ledger) -> None:
        self.board = Board()
        self.decide: Callable[[Event], bool] = lambda event: True
        self.rpc = Rpc(Address("127.0.0.1", 0), None, (), self.board, ledger, lambda event: self.decide(event))
        self.address = self.rpc.start()
        self.channel = grpc.insecure_channel(str(self.address))
        self.control = ControlServiceStub(self.channel)

    def publish(self, *nodes: str, findings: tuple[Finding, ...] = ()) -> None:
        cluster = pb.GetClusterResponse(controller_id="c1", node_count=len(nodes))
        self.board.publish(pb.WatchResponse(cluster=cluster, nodes=[pb.Node(name=n) for n in nodes], findings=findings))

    def close(self) -> None:
        self.channel.close()
        self.rpc.stop()
        self.rpc.close()


@pytest.fixture
def server(ledger: Ledger) -> Iterator[Server]:
    running = Server(ledger)
    yield running
    running.close()


def node_pages(server: Server, size: int) -> Iterator[list[str]]:
    token = ""
    while True:
        page = server.control.ListNodes(pb.ListNodesRequest(page_size=size, page_token=token))
        yield [node.name for node in page.nodes]
        token = page.next_page_token
        if not token:
            return


def wait_until_decided(control: ControlServiceStub) -> pb.GetClusterResponse:
    until_s = time.monotonic() + 5
    while True:
        try:
            return control.GetCluster(pb.GetClusterRequest())
        except grpc.RpcError:
            assert time.monotonic() < until_s
            time.sleep(0.02)


def test_before_the_first_snapshot_a_read_says_come_again(server: Server, refusal: Callable) -> None:
    code, reason, _, _ = refusal(lambda: server.control.GetCluster(pb.GetClusterRequest()))
    assert (code, reason) == ("UNAVAILABLE", "NOT_READY")


def test_pages_give_every_node_once(server: Server) -> None:
    names = [f"n{i:03}" for i in range(250)]
    server.publish(*reversed(names))
    assert [len(page) for page in node_pages(server, 100)] == [100, 100, 50]
    assert [name for page in node_pages(server, 100) for name in page] == names
    assert [len(page) for page in node_pages(server, 125)] == [125, 125]
    assert [len(page) for page in node_pages(server, 0)] == [100, 100, 50]


def test_a_node_that_goes_between_two_pages_takes_no_other_with_it(server: Server) -> None:
    names = [f"n{i}" for i in range(6)]
    server.publish(*names)
    pages = node_pages(server, 3)
    first = next(pages)
    server.publish(*names[1:])
    assert first + next(pages) == names


@pytest.mark.parametrize(
    ("size", "token", "field"),
    [(-1, "", "page_size"), (0, "garbage", "page_token"), (0, "12", "page_token")],
)
def test_a_page_that_cannot_be_is_refused_with_its_field(
    server: Server, refusal: Callable, size: int, token: str, field: str
) -> None:
    server.publish("n0")
    request = pb.ListNodesRequest(page_size=size, page_token=token)
    code, _, fields, message = refusal(lambda: server.control.ListNodes(request))
    assert (code, fields) == ("INVALID_ARGUMENT", field)
    assert message.startswith(f"{field}: ")


def test_ledger_lines_are_paged_newest_first_while_new_ones_come(server: Server, ledger: Ledger) -> None:
    ledger.append([pb.Action(kind="cap", subject=f"n{i}").SerializeToString() for i in range(5)], 7)
    first = server.control.ListActions(pb.ListActionsRequest(page_size=3))
    ledger.append([pb.Action(kind="cap", subject="n5").SerializeToString()], 8)
    second = server.control.ListActions(pb.ListActionsRequest(page_size=3, page_token=first.next_page_token))
    assert [(a.id, a.subject) for a in first.actions] == [(5, "n4"), (4, "n3"), (3, "n2")]
    assert [(a.id, a.subject) for a in second.actions] == [(2, "n1"), (1, "n0")]
    assert second.next_page_token == ""


@pytest.mark.parametrize("token", ["-1", "0", "x", "9" * 30])
def test_an_action_token_that_is_no_id_is_refused(server: Server, refusal: Callable, token: str) -> None:
    request = pb.ListActionsRequest(page_token=token)
    assert refusal(lambda: server.control.ListActions(request))[2] == "page_token"


def test_resolved_findings_are_listed_only_when_asked_for(server: Server) -> None:
    firing, resolved = FindingState.FINDING_STATE_FIRING, FindingState.FINDING_STATE_RESOLVED
    server.publish(findings=(Finding(id="a", state=firing), Finding(id="b", state=resolved)))
    listed = server.control.ListFindings(pb.ListFindingsRequest())
    assert [finding.id for finding in listed.findings] == ["a"]
    listed = server.control.ListFindings(pb.ListFindingsRequest(include_resolved=True))
    assert [finding.id for finding in listed.findings] == ["a", "b"]


@pytest.mark.parametrize("budget_w", [-1.0, 0.0, math.nan, math.inf])
def test_a_budget_that_is_no_power_is_refused_with_its_field(
    shell: ControllerShell, control: ControlServiceStub, refusal: Callable, budget_w: float
) -> None:
    request = pb.SetBudgetRequest(domain="row-a", budget_w=budget_w)
    code, reason, field, message = refusal(lambda: control.SetBudget(request))
    assert (code, reason, field) == ("INVALID_ARGUMENT", "BAD_BUDGET", "budget_w")
    assert "should be above 0" in message


def test_a_budget_below_the_floors_is_refused_with_the_sum_shown(control: ControlServiceStub, refusal: Callable) -> None:
    request = pb.SetBudgetRequest(domain="row-a", budget_w=9e3)
    code, reason, field, message = refusal(lambda: control.SetBudget(request))
    assert (code, reason, field) == ("FAILED_PRECONDITION", "BUDGET_CANNOT_HOLD", "budget_w")
    assert "4 x (2,300 + 1.1 x 1.05 x 8 x 200 W) + 1 dead at the driver's default = 21,212 W" in message


def test_an_unknown_domain_is_not_found(control: ControlServiceStub, refusal: Callable) -> None:
    request = pb.SetModeRequest(domain="row-z", mode=Mode.MODE_AUTO)
    code, _, field, message = refusal(lambda: control.SetMode(request))
    assert (code, field) == ("NOT_FOUND", "domain")
    assert "there are row-a" in message


def test_a_budget_is_seen_by_the_next_reader_and_a_dry_run_is_not(shell: ControllerShell, control: ControlServiceStub) -> None:
    wait_until_decided(control)
    control.SetBudget(pb.SetBudgetRequest(domain="row-a", budget_w=40e3, validate_only=True))
    control.SetBudget(pb.SetBudgetRequest(domain="row-a", budget_w=50e3, request_id="r1"))
    time.sleep(1.2)  # snapshots are a second apart
    (domain,) = control.ListPowerDomains(pb.ListPowerDomainsRequest()).domains
    assert domain.budget_w == 50e3
    kinds = [(line.kind, line.actor) for line in control.ListActions(pb.ListActionsRequest()).actions]
    assert kinds.count(("budget", "operator at 127.0.0.1")) == 1


def test_the_same_request_over_another_connection_has_one_effect(
    shell: ControllerShell, control: ControlServiceStub
) -> None:
    request = pb.SetBudgetRequest(domain="row-a", budget_w=50e3, request_id="r1")
    control.SetBudget(request)
    with grpc.insecure_channel(str(shell.address), options=[("grpc.use_local_subchannel_pool", 1)]) as another:
        ControlServiceStub(another).SetBudget(request)
    kinds = [line.kind for line in control.ListActions(pb.ListActionsRequest()).actions]
    assert kinds.count("budget") == 1


def test_a_text_that_is_too_long_never_reaches_the_decider(server: Server, refusal: Callable) -> None:
    events: list[Event] = []
    server.decide = lambda event: bool(events.append(event))
    request = pb.SetBudgetRequest(domain="x" * 254, budget_w=1e3)
    assert refusal(lambda: server.control.SetBudget(request))[:3] == ("INVALID_ARGUMENT", "TOO_LONG", "domain")
    assert events == []


def test_a_decider_that_does_not_answer_ends_in_a_deadline_not_in_a_wait(server: Server) -> None:
    began_s = time.monotonic()
    with pytest.raises(grpc.RpcError) as caught:
        server.control.SetBudget(pb.SetBudgetRequest(domain="row-a", budget_w=5e4), timeout=0.5)
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert time.monotonic() - began_s < 2


def test_a_full_inbox_refuses_a_request(server: Server, refusal: Callable) -> None:
    server.decide = lambda event: False
    request = pb.SetBudgetRequest(domain="row-a", budget_w=5e4)
    assert refusal(lambda: server.control.SetBudget(request))[:2] == ("UNAVAILABLE", "BUSY")


def test_each_of_many_askers_gets_its_own_answer(server: Server) -> None:
    def echo(event: Event) -> bool:
        assert isinstance(event, SetBudget)
        response = pb.SetBudgetResponse(domain=pb.PowerDomain(budget_w=event.budget_w)).SerializeToString()
        reply = Reply(event.token, response)
        threading.Timer(0.05, server.rpc.answer, (reply.token, reply.response)).start()
        return True

    server.decide = echo
    asked = [server.control.SetBudget.future(pb.SetBudgetRequest(domain="r", budget_w=w)) for w in range(40)]
    assert [call.result().domain.budget_w for call in asked] == list(range(40))


def test_a_watcher_sees_the_newest_at_most_twice_a_second(server: Server) -> None:
    server.publish("n0")
    watch = server.control.Watch(pb.WatchRequest(), timeout=10)
    began_s, seen = time.monotonic(), [next(watch)]
    stop = threading.Event()

    def publish() -> None:
        for number in range(1, 10_000):
            server.publish(*(["n"] * (number % 7 + 1)))
            if stop.wait(0.02):
                return

    publisher = threading.Thread(target=publish)
    publisher.start()
    while time.monotonic() - began_s < 2.0:
        seen.append(next(watch))
    stop.set()
    publisher.join()
    watch.cancel()
    assert 3 <= len(seen) <= 6


def test_a_watcher_too_many_is_refused_and_a_place_becomes_free(server: Server, refusal: Callable) -> None:
    server.publish("n0")
    watches = [server.control.Watch(pb.WatchRequest(), timeout=10) for _ in range(16)]
    for watch in watches:
        next(watch)
    late = server.control.Watch(pb.WatchRequest(), timeout=10)
    assert refusal(lambda: next(late))[:2] == ("RESOURCE_EXHAUSTED", "TOO_MANY_WATCHERS")
    for watch in watches:
        watch.cancel()
    time.sleep(0.7)
    again = server.control.Watch(pb.WatchRequest(), timeout=10)
    assert next(again).cluster.controller_id == "c1"
    again.cancel()


def test_health_says_serving_only_while_the_decider_publishes(server: Server) -> None:
    health = HealthStub(server.channel)

    def status(service: str = "") -> int:
        return health.Check(HealthCheckRequest(service=service)).status

    def becomes(wanted: int, within_s: float) -> None:
        until_s = time.monotonic() + within_s
        while status() != wanted:
            assert time.monotonic() < until_s
            time.sleep(0.05)

    assert status() == HealthCheckResponse.NOT_SERVING
    server.publish("n0")
    becomes(HealthCheckResponse.SERVING, 1)
    assert status("gpuwarden.v1.ControlService") == HealthCheckResponse.SERVING
    becomes(HealthCheckResponse.NOT_SERVING, 4)
    server.publish("n0")
    becomes(HealthCheckResponse.SERVING, 1)
    with pytest.raises(grpc.RpcError) as caught:
        status("gpuwarden.v1.NoService")
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


def test_reflection_lists_the_services(server: Server) -> None:
    listed = ProtoReflectionDescriptorDatabase(server.channel).get_services()
    assert {"gpuwarden.v1.AgentService", "gpuwarden.v1.ControlService", "grpc.health.v1.Health"} <= set(listed)


def test_a_port_that_is_taken_is_named(server: Server, ledger: Ledger) -> None:
    second = Rpc(server.address, None, (), Board(), ledger, lambda event: True)
    with pytest.raises(CannotListen, match=f"listen: {server.address} cannot be had"):
        second.start()
    second.close()


def test_a_message_above_the_limit_is_refused(server: Server) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        server.control.SetBudget(pb.SetBudgetRequest(domain="x" * (2 << 20)))
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
