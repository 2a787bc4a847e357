"""A controller in this process, its gRPC server on a free port, and clients that talk to it as the real ones do."""

import queue
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from fakes.limiters import KEY
from fakes.site import Site
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from grpc_status import rpc_status

from gpuwarden.controller.config import ControllerConfig
from gpuwarden.controller.ledger import Ledger
from gpuwarden.controller.main import ControllerShell
from gpuwarden.controller.power.domain import DomainConfig
from gpuwarden.controller.power.node_class import NodeClass
from gpuwarden.core.address import Address
from gpuwarden.core.channel import open_channel
from gpuwarden.proto.control_pb2 import Hello, OfferedProbe, ProbeAnswer, SessionRequest, SessionResponse
from gpuwarden.proto.control_pb2_grpc import AgentServiceStub, ControlServiceStub
from gpuwarden.proto.lease_pb2 import Sealed

NODES = ("n0", "n1", "n2", "n3")
ANYWHERE = Address("127.0.0.1", 0)


class AgentLine:
    """One agent's session, a message at a time."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._up: queue.SimpleQueue[SessionRequest | None] = queue.SimpleQueue()
        self._down = AgentServiceStub(channel).Session(iter(self._up.get, None), timeout=30)

    def hello(self, node: str, version: int = 1, lowest_version: int = 0, probes: Sequence[OfferedProbe] = ()) -> None:
        hello = Hello(version=version, lowest_version=lowest_version, node=node, agent_version="0.1.0", probes=probes)
        self._up.put(SessionRequest(hello=hello))

    def report(self, sealed: bytes) -> None:
        self._up.put(SessionRequest(report=Sealed.FromString(sealed)))

    def answer(self, answer: ProbeAnswer) -> None:
        self._up.put(SessionRequest(probe=answer))

    def hear(self) -> SessionResponse:
        """The next message from above, or grpc.RpcError."""
        return next(self._down)

    def end(self) -> None:
        self._up.put(None)
        self._down.cancel()


@pytest.fixture
def controller_config(tmp_path: Path) -> ControllerConfig:
    row = DomainConfig("row-a", 60e3, (NodeClass("h100", NODES),), mode="auto")
    return ControllerConfig(ledger_file=tmp_path / "ledger.sqlite", keys_dir=tmp_path, domains=(row,), listen=ANYWHERE)


@pytest.fixture
def shell(controller_config: ControllerConfig) -> Iterator[ControllerShell]:
    with ControllerShell(controller_config, dict.fromkeys(NODES, KEY)) as running:
        yield running


@pytest.fixture
def channel(shell: ControllerShell) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(str(shell.address)) as opened:
        yield opened


@pytest.fixture
def control(channel: grpc.Channel) -> ControlServiceStub:
    return ControlServiceStub(channel)


@pytest.fixture
def open_line() -> Iterator[Callable[[grpc.Channel], AgentLine]]:
    """Sessions that end with the test."""
    lines: list[AgentLine] = []

    def opened(channel: grpc.Channel) -> AgentLine:
        lines.append(AgentLine(channel))
        return lines[-1]

    yield opened
    for line in lines:
        line.end()


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger(tmp_path / "ledger.sqlite")
    yield opened
    opened.close()


@pytest.fixture
def refusal() -> Callable[[Callable[[], object]], tuple[str, str, str, str]]:
    """(code, reason, field, message) of the rich error that a call ends with."""

    def of(call: Callable[[], object]) -> tuple[str, str, str, str]:
        with pytest.raises(grpc.RpcError) as caught:
            call()
        status = rpc_status.from_call(caught.value)
        assert status is not None, caught.value
        bad, info = BadRequest(), ErrorInfo()
        for detail in status.details:
            detail.Unpack(info)
            detail.Unpack(bad)
        fields = ",".join(violation.field for violation in bad.field_violations)
        return caught.value.code().name, info.reason, fields, status.message

    return of


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("site"))


@pytest.fixture
def secured(controller_config: ControllerConfig, site: Site, tmp_path: Path) -> Iterator[ControllerShell]:
    tls_dir = shutil.copytree(site.controller(), tmp_path / "tls")
    with ControllerShell(replace(controller_config, tls_dir=tls_dir), dict.fromkeys(NODES, KEY)) as running:
        yield running


@pytest.fixture
def dial(secured: ControllerShell) -> Iterator[Callable[[Path], grpc.Channel]]:
    with ExitStack() as opened:
        yield lambda tls_dir: opened.enter_context(open_channel(secured.address, tls_dir))
