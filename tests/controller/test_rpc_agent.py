"""An agent's session: who may hold one, what goes up, and that only the newest grant comes down."""

import logging
import time
from collections.abc import Callable, Iterator

import grpc
import pytest
from fakes.limiters import KEY, Limiter
from prometheus_client import REGISTRY

from gpuwarden.controller.config import ControllerConfig
from gpuwarden.controller.events import Event, ReportArrived, SessionClosed, SessionOpened
from gpuwarden.controller.ledger import Ledger
from gpuwarden.controller.main import ControllerShell
from gpuwarden.controller.rpc import Rpc
from gpuwarden.controller.snapshot import Board
from gpuwarden.core.address import Address
from gpuwarden.core.seal import Way, seal
from gpuwarden.core.version import VERSION, Versions
from gpuwarden.proto.lease_pb2 import PowerReport

Open = Callable[[grpc.Channel], "object"]
REPORT = seal(KEY, Way.UP, "n0", PowerReport(version=99).SerializeToString())


class Server:
    """A gRPC server without a decider: what it offers is kept."""

    def __init__(self, ledger: Ledger) -> None:
        self.events: list[Event] = []
        self.has_room = True
        self.rpc = Rpc(Address("127.0.0.1", 0), None, tuple(f"n{i}" for i in range(200)), Board(), ledger, self._offer)
        self.channel = grpc.insecure_channel(str(self.rpc.start()))

    def _offer(self, event: Event) -> bool:
        if self.has_room:
            self.events.append(event)
        return self.has_room

    def close(self) -> None:
        self.channel.close()
        self.rpc.stop()
        self.rpc.close()

    def wait_for(self, kind: type, count: int = 1) -> list[Event]:
        until_s = time.monotonic() + 5
        while len(found := [e for e in self.events if isinstance(e, kind)]) < count:
            assert time.monotonic() < until_s, f"{count} {kind.__name__} expected, there are {self.events}"
            time.sleep(0.01)
        return found


@pytest.fixture
def server(ledger: Ledger) -> Iterator[Server]:
    running = Server(ledger)
    yield running
    running.close()


def reports(outcome: str) -> float:
    return REGISTRY.get_sample_value("gpuwarden_controller_reports_total", {"outcome": outcome}) or 0.0


def test_a_hello_is_welcomed_with_both_versions_and_opens_a_session(server: Server, open_line: Open) -> None:
    line = open_line(server.channel)
    line.hello("n0")
    welcome = line.hear().welcome
    assert (welcome.version, welcome.controller_version) == (1, VERSION)
    assert server.wait_for(SessionOpened) == [SessionOpened(1, "n0", "0.1.0")]


def test_a_report_before_hello_is_refused(server: Server, open_line: Open, refusal: Callable) -> None:
    line = open_line(server.channel)
    line.report(REPORT)
    assert refusal(line.hear)[:3] == ("INVALID_ARGUMENT", "HELLO_FIRST", "hello")
    assert server.events == []


def test_a_version_that_is_not_known_is_refused(server: Server, open_line: Open, refusal: Callable) -> None:
    line = open_line(server.channel)
    line.hello("n0", version=3)
    assert refusal(line.hear) == (
        "INVALID_ARGUMENT", "VERSION_UNKNOWN", "hello.version", "hello.version: is 3, this controller speaks 1 to 2",
    )


@pytest.mark.parametrize("ours, lowest, highest, agreed", [((1, 1), 1, 2, 1), ((1, 2), 0, 1, 1), ((1, 2), 1, 3, 2)])
def test_agents_of_the_release_before_and_after_are_welcomed_in_a_version_that_both_speak(
    server: Server, open_line: Open, monkeypatch: pytest.MonkeyPatch, ours: tuple[int, int], lowest: int, highest: int, agreed: int
) -> None:
    monkeypatch.setattr("gpuwarden.controller.rpc_agent.SESSION", Versions(*ours))
    line = open_line(server.channel)
    line.hello("n0", highest, lowest)
    assert line.hear().welcome.version == agreed


def test_a_node_of_no_domain_is_refused_by_name(server: Server, open_line: Open, refusal: Callable) -> None:
    line = open_line(server.channel)
    line.hello("n999")
    code, reason, field, message = refusal(line.hear)
    assert (code, reason, field) == ("NOT_FOUND", "NODE_UNKNOWN", "hello.node")
    assert "'n999' is in no power domain" in message


def test_the_newest_session_of_a_node_wins_and_the_old_one_is_told(
    server: Server, open_line: Open, refusal: Callable
) -> None:
    old, new = open_line(server.channel), open_line(server.channel)
    old.hello("n0")
    old.hear()
    new.hello("n0")
    new.hear()
    assert refusal(old.hear)[:2] == ("ABORTED", "SESSION_REPLACED")
    new.report(REPORT)
    assert server.wait_for(ReportArrived) == [ReportArrived(2, REPORT)]
    assert server.wait_for(SessionClosed) == [SessionClosed(1, "a newer session of this node replaced it")]


def test_a_report_of_another_node_ends_the_session(server: Server, open_line: Open, refusal: Callable) -> None:
    line = open_line(server.channel)
    line.hello("n0")
    line.hear()
    line.report(seal(KEY, Way.UP, "n1", b"x"))
    assert refusal(line.hear)[:3] == ("INVALID_ARGUMENT", "OTHER_NODE", "report.node")
    assert server.wait_for(SessionClosed)


def test_an_empty_report_is_refused_with_its_field(server: Server, open_line: Open, refusal: Callable) -> None:
    line = open_line(server.channel)
    line.hello("n0")
    line.hear()
    line.report(seal(KEY, Way.UP, "n0", b""))
    assert refusal(line.hear)[2] == "report.payload"


def test_an_agent_that_vanishes_is_told_to_the_decider(server: Server, open_line: Open) -> None:
    line = open_line(server.channel)
    line.hello("n0")
    line.hear()
    line.end()
    assert [closed.session for closed in server.wait_for(SessionClosed)] == [1]


def test_each_session_that_was_opened_is_closed_however_the_agent_goes(server: Server, open_line: Open) -> None:
    """An agent that says it is done and breaks off in the same moment ends twice."""
    for number in range(200):
        line = open_line(server.channel)
        line.hello(f"n{number}")
        line.hear()
        line.end()
    assert {closed.session for closed in server.wait_for(SessionClosed, 200)} == set(range(1, 201))


def test_a_full_inbox_drops_reports_and_counts_them_but_never_the_end_of_a_session(server: Server, open_line: Open) -> None:
    line, before = open_line(server.channel), reports("dropped")
    line.hello("n0")
    line.hear()
    server.has_room = False
    line.report(REPORT)
    while reports("dropped") == before:
        time.sleep(0.01)
    line.end()
    time.sleep(0.2)
    assert not any(isinstance(event, SessionClosed) for event in server.events)
    server.has_room = True
    assert server.wait_for(SessionClosed)


def test_a_full_inbox_refuses_a_session_so_that_the_agent_comes_again(
    server: Server, open_line: Open, refusal: Callable
) -> None:
    server.has_room = False
    line = open_line(server.channel)
    line.hello("n0")
    assert refusal(line.hear)[:2] == ("UNAVAILABLE", "BUSY")


def test_grants_that_wait_are_replaced_by_the_newest(server: Server, open_line: Open) -> None:
    line = open_line(server.channel)
    line.hello("n0")
    line.hear()
    server.rpc._loop.call_soon_threadsafe(time.sleep, 0.5)  # the stream is busy
    for number in range(100):
        server.rpc.grant(1, seal(KEY, Way.DOWN, "n0", b"%d" % number))
    heard = [int(line.hear().grant.payload)]
    while heard[-1] != 99:
        heard.append(int(line.hear().grant.payload))
    assert heard == sorted(heard)
    assert len(heard) <= 2


def test_a_flood_of_reports_waits_in_the_flooders_own_stream(server: Server, open_line: Open) -> None:
    flooder, quiet = open_line(server.channel), open_line(server.channel)
    for line, node in ((flooder, "n0"), (quiet, "n1")):
        line.hello(node)
        line.hear()
    for _ in range(1000):
        flooder.report(REPORT)
    quiet.report(seal(KEY, Way.UP, "n1", b"x"))
    time.sleep(1.0)
    came = [event.session for event in server.events if isinstance(event, ReportArrived)]
    assert came.count(2) == 1
    assert 10 < came.count(1) <= 110


def test_a_limiters_reports_are_answered_with_grants_that_it_can_open(
    shell: ControllerShell, channel: grpc.Channel, open_line: Open
) -> None:
    line, limiter = open_line(channel), Limiter("n0")
    line.hello("n0")
    line.hear()
    until_s = time.monotonic() + 10
    while limiter.grant is None:
        assert time.monotonic() < until_s
        line.report(limiter.report(time.monotonic()))
        if time.monotonic() - until_s > -7:  # it only listens for half a lease
            limiter.obey(time.monotonic(), line.hear().grant.SerializeToString())
        time.sleep(0.2)
    assert limiter.grant.epoch == 1
    assert limiter.grant.controller_id == shell.board.newest().cluster.controller_id


def test_a_forged_report_is_refused_counted_and_said_and_the_session_goes_on(
    channel: grpc.Channel, open_line: Open, caplog: pytest.LogCaptureFixture
) -> None:
    line, before = open_line(channel), reports("taken")
    line.hello("n0")
    line.hear()
    with caplog.at_level(logging.WARNING, "gpuwarden"):
        line.report(seal(bytes(31) + b"x", Way.UP, "n0", b"forged"))
        line.report(REPORT)
        until_s = time.monotonic() + 5
        while reports("taken") < before + 2 or len(caplog.messages) < 2:
            assert time.monotonic() < until_s
            time.sleep(0.02)
    assert caplog.messages[0] == "n0: report refused, 1 by now: seal: does not match the node's key"
    assert caplog.messages[1] == "n0: report refused, 2 by now: version: is 99, this controller knows 1"


def test_a_controller_that_stops_tells_its_agents(
    controller_config: ControllerConfig, open_line: Open, refusal: Callable
) -> None:
    with ControllerShell(controller_config, dict.fromkeys(("n0", "n1", "n2", "n3"), KEY)) as shell:
        channel = grpc.insecure_channel(str(shell.address))
        line = open_line(channel)
        line.hello("n0")
        line.hear()
    assert refusal(line.hear)[:2] == ("UNAVAILABLE", "SHUTTING_DOWN")
    channel.close()
