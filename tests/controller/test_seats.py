"""One certificate, whatever its holder opens with it, leaves every other caller served."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
from fakes.site import Site, cluster, failing, wait_for_cluster
from grpc_health.v1.health_pb2 import HealthCheckRequest  # type: ignore[import-untyped]  # ships no types
from grpc_health.v1.health_pb2_grpc import HealthStub  # type: ignore[import-untyped]  # ships no types
from grpc_reflection.v1alpha.reflection_pb2_grpc import (  # type: ignore[import-untyped]  # ships no types
    ServerReflectionStub,
)

from gpuwarden.controller.access import Access, Role
from gpuwarden.controller.rpc_operator import MAX_WATCHERS, MAX_WATCHES_EACH
from gpuwarden.controller.rpc_refusal import Refused
from gpuwarden.controller.rpc_seats import AGENT_CALLS, CALLS_EACH, OTHER_CALLS
from gpuwarden.proto import control_pb2 as pb
from gpuwarden.proto.control_pb2_grpc import AgentServiceStub, ControlServiceStub

Dial = Callable[[Path], grpc.Channel]
Refusal = Callable[[Callable[[], object]], tuple[str, str, str, str]]
Line = Callable[[grpc.Channel], Any]

FLOODS: dict[str, Callable[[grpc.Channel, Callable[[], Iterator[Any]]], Any]] = {
    "Health.Watch": lambda channel, silent: HealthStub(channel).Watch(HealthCheckRequest(), timeout=30),
    "reflection": lambda channel, silent: ServerReflectionStub(channel).ServerReflectionInfo(silent(), timeout=30),
    "sessions before their hello": lambda channel, silent: AgentServiceStub(channel).Session(silent(), timeout=30),
}


@pytest.fixture
def silent() -> Iterator[Callable[[], Iterator[Any]]]:
    """Requests that never come, until the test is over."""
    over = threading.Event()

    def never() -> Iterator[Any]:
        over.wait()
        yield from ()

    yield never
    over.set()


@pytest.mark.parametrize("flood", FLOODS)
def test_an_agent_that_opens_all_it_can_locks_nobody_else_out(
    flood: str, dial: Dial, site: Site, open_line: Line, silent: Callable[[], Iterator[Any]]
) -> None:
    viewer, captured = dial(site.holder("viewer", "wall")), dial(site.holder("agent", "n0"))
    wait_for_cluster(viewer)
    calls = [FLOODS[flood](captured, silent) for _ in range(120)]
    ended = ended_after(calls, 120 - AGENT_CALLS)
    assert {call.code() for call in ended} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert "agent n0 has 8 calls open already" in ended[0].details()
    line = open_line(dial(site.holder("agent", "n1")))
    line.hello("n1")
    assert line.hear().WhichOneof("message") == "welcome"
    assert cluster(viewer).node_count == 4
    for call in calls:
        call.cancel()


def ended_after(calls: list[Any], count: int) -> list[Any]:
    """Those that the server has ended, once there are so many."""
    until_s = time.monotonic() + 10.0
    while len(ended := [call for call in calls if not call.is_active()]) < count:
        assert time.monotonic() < until_s, f"{len(ended)} of {count} calls are ended"
        time.sleep(0.02)
    return ended


def test_a_seat_is_free_again_when_its_call_ends_or_is_cancelled(dial: Dial, site: Site, refusal: Refusal) -> None:
    wall = dial(site.holder("viewer", "wall"))
    wait_for_cluster(wall)
    for _ in range(3):
        calls = [HealthStub(wall).Watch(HealthCheckRequest(), timeout=30) for _ in range(CALLS_EACH)]
        for call in calls:
            next(iter(call))
        assert refusal(lambda: cluster(wall))[:2] == ("RESOURCE_EXHAUSTED", "TOO_MANY_CALLS")
        for call in calls:
            call.cancel()
        until_s = time.monotonic() + 5.0
        while (shown := served(wall)) is None:
            assert time.monotonic() < until_s
        assert shown.node_count == 4


def served(channel: grpc.Channel) -> pb.GetClusterResponse | None:
    try:
        return cluster(channel)
    except grpc.RpcError:
        return None


def test_many_people_together_leave_every_nodes_own_seats_free(dial: Dial, site: Site, open_line: Line) -> None:
    wait_for_cluster(dial(site.holder("viewer", "wall")))
    calls = []
    for number in range(OTHER_CALLS // CALLS_EACH + 1):
        # A certificate without a role, or of a node that is not ours, sits with the people.
        role = ("viewer", "agent", "emperor")[number % 3]
        channel = dial(site.holder(role, f"x{number}"))
        calls += [HealthStub(channel).Watch(HealthCheckRequest(), timeout=30) for _ in range(CALLS_EACH)]
    ended_after(calls, CALLS_EACH)
    assert failing(lambda: cluster(dial(site.holder("viewer", "another")))) is grpc.StatusCode.RESOURCE_EXHAUSTED
    for node in ("n0", "n1", "n2", "n3"):
        line = open_line(dial(site.holder("agent", node)))
        line.hello(node)
        assert line.hear().WhichOneof("message") == "welcome"
    for call in calls:
        call.cancel()


def test_one_viewer_does_not_take_all_the_places_to_watch(dial: Dial, site: Site, refusal: Refusal) -> None:
    with ExitStack() as opened:
        wall = ControlServiceStub(dial(site.holder("viewer", "wall")))
        wait_for_cluster(dial(site.holder("viewer", "other")))

        def watch(stub: ControlServiceStub) -> None:
            call = stub.Watch(pb.WatchRequest(), timeout=30)
            opened.callback(call.cancel)
            next(iter(call))

        for _ in range(MAX_WATCHES_EACH):
            watch(wall)
        code, reason, _, message = refusal(lambda: watch(wall))
        assert (code, reason) == ("RESOURCE_EXHAUSTED", "TOO_MANY_WATCHERS") and "viewer wall is watching 4 times" in message
        watch(ControlServiceStub(dial(site.holder("viewer", "other"))))
        assert MAX_WATCHES_EACH < MAX_WATCHERS


class Connection:
    """What a call's context tells of a connection."""

    def __init__(self, **auth: list[bytes]) -> None:
        self._auth = auth

    def auth_context(self) -> dict[str, list[bytes]]:
        return self._auth

    def peer(self) -> str:
        return "ipv4:10.0.0.9:4242"


@pytest.mark.parametrize("auth", [{}, {"transport_security_type": [b"tls"]}, {"transport_security_type": [b"insecure"]}])
def test_with_tls_a_connection_that_names_nobody_is_nobody_whatever_it_calls_itself(auth: dict[str, list[bytes]]) -> None:
    with pytest.raises(Refused, match="names no role"):
        Access(tls=True).check(Connection(**auth), "GetCluster")  # type: ignore[arg-type]  # all that is asked of a context
    assert Access(tls=False).caller(Connection(**auth)).role is Role.ADMIN  # type: ignore[arg-type]  # as above
