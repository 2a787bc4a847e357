"""The session with a controller: hello first, the newest report up, grants down, and back again whenever it ends."""

import queue
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import grpc
import pytest
from services.port import free_port

from gpuwarden.agent.events import AnswerProbe, ControllerLink, Event, FromController, ProbeAsked
from gpuwarden.agent.probed import Figure, Offered, Outcome, Result
from gpuwarden.agent.session import ControllerSession
from gpuwarden.core.address import Address
from gpuwarden.core.version import Versions
from gpuwarden.proto.control_pb2 import (
    Hello,
    OfferedProbe,
    ProbeAnswer,
    ProbeAsk,
    ProbeOutcome,
    SessionRequest,
    SessionResponse,
    Welcome,
)
from gpuwarden.proto.control_pb2_grpc import (
    AgentServiceServicer,
    AgentServiceStub,
    add_AgentServiceServicer_to_server,
)
from gpuwarden.proto.lease_pb2 import Sealed


@dataclass
class Echo(AgentServiceServicer):
    """Welcomes everybody and sends each report back as a grant."""

    version: int = 1
    hellos: "queue.Queue[Hello]" = field(default_factory=queue.Queue)

    def Session(self, request_iterator: Iterator[SessionRequest], context: grpc.ServicerContext) -> Iterator[SessionResponse]:
        self.hellos.put(next(request_iterator).hello)
        yield SessionResponse(welcome=Welcome(version=self.version))
        for request in request_iterator:
            if request.report.payload == b"end":
                return
            yield SessionResponse(grant=request.report)


def serving(echo: Echo, port: int) -> grpc.Server:
    server = grpc.server(ThreadPoolExecutor(4), options=(("grpc.so_reuseport", 0),))
    add_AgentServiceServicer_to_server(echo, server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    return server


@pytest.fixture
def told() -> "queue.Queue[Event]":
    return queue.Queue()


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def session(port: int, told: "queue.Queue[Event]") -> Iterator[ControllerSession]:
    made = ControllerSession(Address("127.0.0.1", port), None, "n1", told.put)
    yield made
    start_s = time.monotonic()
    made.close()
    assert time.monotonic() - start_s < 2.0


def sealed(payload: bytes) -> bytes:
    return Sealed(node="n1", payload=payload, seal=b"s").SerializeToString()


def link(told: "queue.Queue[Event]", up: bool) -> ControllerLink:
    while True:
        event = told.get(timeout=10.0)
        if isinstance(event, ControllerLink) and event.up == up:
            return event


def test_hello_then_reports_up_and_grants_down_unchanged(port: int, session: ControllerSession, told: "queue.Queue[Event]") -> None:
    echo = Echo()
    server = serving(echo, port)
    link(told, True)
    hello = echo.hellos.get(timeout=5.0)
    assert (hello.version, hello.lowest_version, hello.node) == (2, 1, "n1") and hello.agent_version
    session.send(sealed(b"report"))
    assert told.get(timeout=5.0) == FromController(sealed(b"report"))
    server.stop(0.1).wait()


def test_a_controller_that_comes_back_is_found_within_the_shortest_lease(
    port: int, session: ControllerSession, told: "queue.Queue[Event]"
) -> None:
    for _ in range(2):
        server = serving(Echo(), port)
        start_s = time.monotonic()
        link(told, True)
        assert time.monotonic() - start_s < 3.0
        server.stop(0.0).wait()
        assert link(told, False).reason


def test_a_controller_that_ends_the_session_is_called_again(port: int, session: ControllerSession, told: "queue.Queue[Event]") -> None:
    echo = Echo()
    server = serving(echo, port)
    link(told, True)
    session.send(sealed(b"end"))
    assert link(told, False).reason == "the controller ended the session"
    link(told, True)
    assert echo.hellos.qsize() == 2
    server.stop(0.1).wait()


def test_a_controller_of_another_version_is_not_spoken_to(port: int, session: ControllerSession, told: "queue.Queue[Event]") -> None:
    server = serving(Echo(version=9), port)
    while "welcome.version: is 9" not in link(told, False).reason:
        pass
    server.stop(0.1).wait()


def test_without_a_controller_it_says_so_once(port: int, session: ControllerSession, told: "queue.Queue[Event]") -> None:
    time.sleep(2.5)
    events = [told.get_nowait() for _ in range(told.qsize())]
    assert 1 <= len(events) <= 2 and all(isinstance(e, ControllerLink) and not e.up for e in events)


def test_an_agent_of_the_next_release_says_that_it_also_speaks_the_one_before(
    port: int, told: "queue.Queue[Event]", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpuwarden.agent.session.SESSION", Versions(1, 2))
    echo = Echo()
    server = serving(echo, port)
    session = ControllerSession(Address("127.0.0.1", port), None, "n1", told.put)
    link(told, True)
    hello = echo.hellos.get(timeout=5.0)
    assert (hello.lowest_version, hello.version) == (1, 2)
    session.close()
    server.stop(0.2).wait()


def test_whatever_breaks_a_session_is_said_and_the_next_one_is_tried(
    port: int, session: ControllerSession, told: "queue.Queue[Event]", monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when no thread can start for a moment: a node without its session stays at its floor."""

    def crowded(channel: grpc.Channel) -> AgentServiceStub:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as full:
        full.setattr("gpuwarden.agent.session.AgentServiceStub", crowded)
        while link(told, False).reason != "RuntimeError: can't start new thread":
            pass
    server = serving(Echo(), port)
    link(told, True)
    server.stop(None)


class Asking(Echo):
    """Asks for tests, one with a name that is too long, and keeps what is answered."""

    def Session(self, request_iterator: Iterator[SessionRequest], context: grpc.ServicerContext) -> Iterator[SessionResponse]:
        self.hellos.put(next(request_iterator).hello)
        yield SessionResponse(welcome=Welcome(version=2))
        yield SessionResponse(probe=ProbeAsk(id="q0", name="x" * 1000))
        yield SessionResponse(probe=ProbeAsk(id="q1", name="matmul"))
        for request in request_iterator:
            self.answers.put(request.probe)

    answers: "queue.Queue[ProbeAnswer]" = queue.Queue()


def test_tests_are_offered_asked_for_and_answered_each_once(port: int, told: "queue.Queue[Event]") -> None:
    asking = Asking()
    server = serving(asking, port)
    session = ControllerSession(Address("127.0.0.1", port), None, "n1", told.put, [Offered("matmul", True, 500.0, 60.0)])
    assert link(told, True).version == 2
    assert list(asking.hellos.get(timeout=5.0).probes) == [OfferedProbe(name="matmul", harmless=True, needs_w=500.0, deadline_s=60.0)]
    assert told.get(timeout=5.0) == ProbeAsked("q1", "matmul")
    for id in ("q1", "q2"):
        session.answer(AnswerProbe(id, "matmul", Result(Outcome.FAILED, "wrong", (Figure("pace", 1.5, "TFLOP/s", 2.0),), took_s=3.0)))
    first, second = asking.answers.get(timeout=5.0), asking.answers.get(timeout=5.0)
    assert (first.id, second.id, first.outcome, first.said, first.took_s) == ("q1", "q2", ProbeOutcome.PROBE_OUTCOME_FAILED, "wrong", 3.0)
    assert (first.figures[0].name, first.figures[0].value, first.figures[0].expected, first.figures[0].unit) == ("pace", 1.5, 2.0, "TFLOP/s")
    session.close()
    server.stop(0.1).wait()
