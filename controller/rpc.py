"""The gRPC server in a thread of its own: agents, operators, health and reflection on one port."""

import asyncio
import time
from collections.abc import Callable, Collection, Coroutine
from concurrent.futures import Future
from threading import Thread
from typing import Any, Final, TypeVar

import grpc
from grpc_health.v1 import health  # type: ignore[import-untyped]  # ships no types
from grpc_health.v1.health_pb2 import HealthCheckResponse  # type: ignore[import-untyped]  # ships no types
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server  # type: ignore[import-untyped]  # ships no types
from grpc_reflection.v1alpha import reflection  # type: ignore[import-untyped]  # ships no types

from gpuwarden.controller.access import Access
from gpuwarden.controller.events import Event, Refuse
from gpuwarden.controller.isolation import events as isolation
from gpuwarden.controller.ledger import Ledger
from gpuwarden.controller.rpc_agent import AgentSessions
from gpuwarden.controller.rpc_change import ANSWER_WITHIN_S
from gpuwarden.controller.rpc_isolation import AskIsolation
from gpuwarden.controller.rpc_operator import Operators
from gpuwarden.controller.rpc_replies import Replies
from gpuwarden.controller.rpc_seats import AGENT_CALLS, OTHER_CALLS, Seats
from gpuwarden.controller.rpc_tls import server_credentials
from gpuwarden.controller.snapshot import Board
from gpuwarden.core.address import Address
from gpuwarden.core.config import ConfigError
from gpuwarden.core.tls import Rotating
from gpuwarden.proto.control_pb2 import DESCRIPTOR
from gpuwarden.proto.control_pb2_grpc import (
    add_AgentServiceServicer_to_server,
    add_ControlServiceServicer_to_server,
)

SERVICES: Final = tuple(service.full_name for service in DESCRIPTOR.services_by_name.values())
MAX_MESSAGE_BYTES: Final = 1 << 20
_BEING_REFUSED: Final = 1024  # calls that found no seat and are on their way out
_GRACE_S: Final = 1.0
_CALL_S: Final = 5.0
_LOOK_S: Final = 0.1
_ALIVE_S: Final = 3.0  # a decider publishes every second

_OPTIONS: Final = (
    ("grpc.so_reuseport", 0),  # else a second controller would share the port in silence
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.server_handshake_timeout_ms", 10_000),  # a connection that shows no certificate holds a descriptor so long
    # A dead peer is known within about 3 s, the time after which a node counts as stale.
    ("grpc.keepalive_time_ms", 2000),
    ("grpc.keepalive_timeout_ms", 1000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 1000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 1000),
    ("grpc.http2.max_ping_strikes", 5),
)

T = TypeVar("T")


class CannotListen(ConfigError):
    """The address cannot be bound: which, and why."""


class Rpc:
    """Serves from `start` to `stop`. `grant`, `probe`, `ask` and `answer` may be called from any thread, until `close`."""

    def __init__(
        self,
        listen: Address,
        tls: Rotating | None,
        nodes: Collection[str],
        board: Board,
        ledger: Ledger,
        offer: Callable[[Event], bool],
        offer_isolation: Callable[[isolation.Event], bool] | None = None,
    ) -> None:
        """Without `tls` whoever reaches `listen` may do everything."""
        assert tls is not None or listen.loopback, f"{listen} is beyond loopback"
        self._tls = tls
        self._listen, self._nodes, self._board, self._ledger = listen, frozenset(nodes), board, ledger
        self._access = Access(tls is not None)
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="rpc", daemon=True)
        self._thread.start()
        self._sessions = AgentSessions(self._nodes, offer, self._loop, self._access, offer_isolation)
        self._replies = Replies(offer, self._loop)
        self._isolation = Replies(offer_isolation, self._loop) if offer_isolation is not None else None
        self._ask_isolation = AskIsolation(self._isolation, board)
        self._health = health.aio.HealthServicer()

    def start(self) -> Address:
        """Where it listens: port 0 takes a free one. CannotListen if the address cannot be had."""
        try:
            port = self._call(self._start())
        except RuntimeError as why:
            raise CannotListen(f"listen: {self._listen} cannot be had: {why}") from None
        return Address(self._listen.host, port)

    def grant(self, session: int, sealed: bytes) -> None:
        self._sessions.send(session, sealed)

    def probe(self, node: str, id: str, name: str) -> None:
        """Asks the node's agent for a test; answered by one Probed, to isolation."""
        self._sessions.ask(node, id, name)

    def answer(self, token: int, response: bytes | Refuse) -> None:
        self._replies.answer(token, response)

    def answer_of_isolation(self, token: int, response: bytes | Refuse) -> None:
        assert self._isolation is not None, "who was not asked does not answer"
        self._isolation.answer(token, response)

    def ask(self, make_event: Callable[[int], Event]) -> Future[bytes]:
        """The page's way to the machine, which is that of every call: the serialised response, or Refused."""
        return asyncio.run_coroutine_threadsafe(self._replies.ask(make_event, ANSWER_WITHIN_S), self._loop)

    def ask_isolation(self, make_event: Callable[[int], isolation.Event]) -> Future[str]:
        """The page's way to the isolating machine: its sentence, or Refused."""
        return asyncio.run_coroutine_threadsafe(self._ask_isolation.said(make_event, ANSWER_WITHIN_S), self._loop)

    def stop(self) -> None:
        """Says NOT_SERVING, ends the sessions and gives open calls a second."""
        self._call(self._stop())

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _start(self) -> int:
        # Without certificates callers cannot be told apart, and all are on this machine.
        seats = [Seats(self._nodes)] if self._tls is not None else []
        most = AGENT_CALLS * len(self._nodes) + OTHER_CALLS + _BEING_REFUSED
        server = grpc.aio.server(interceptors=seats, options=_OPTIONS, maximum_concurrent_rpcs=most)
        self._server = server
        add_AgentServiceServicer_to_server(self._sessions, server)
        operators = Operators(self._board, self._ledger, self._replies, self._access, self._ask_isolation)
        add_ControlServiceServicer_to_server(operators, server)
        add_HealthServicer_to_server(self._health, server)
        reflection.enable_server_reflection((*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
        await self._set_health(HealthCheckResponse.NOT_SERVING)
        if self._tls is None:
            port = server.add_insecure_port(str(self._listen))
        else:
            port = server.add_secure_port(str(self._listen), server_credentials(self._tls))
        await server.start()
        self._readiness = asyncio.create_task(self._follow_decider())
        return port

    async def _follow_decider(self) -> None:
        """Healthy is a decider that goes on publishing, not a port that answers."""
        seen, changed_s = None, -_ALIVE_S
        while True:
            if (newest := self._board.newest()) is not seen:
                seen, changed_s = newest, time.monotonic()
            alive = time.monotonic() - changed_s < _ALIVE_S
            await self._set_health(HealthCheckResponse.SERVING if alive else HealthCheckResponse.NOT_SERVING)
            await asyncio.sleep(_LOOK_S)

    async def _set_health(self, status: int) -> None:
        for service in ("", *SERVICES):
            await self._health.set(service, status)

    async def _stop(self) -> None:
        self._readiness.cancel()
        await self._health.enter_graceful_shutdown()
        self._sessions.end_all(Refuse("UNAVAILABLE", "SHUTTING_DOWN", "", "the controller is shutting down"))
        await self._server.stop(_GRACE_S)

    def _call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(_CALL_S)
