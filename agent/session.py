"""The agent's session with its controller: reports and what came of tests up, grants and tests down, opened again whenever it ends."""

import logging
import random
import threading
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import grpc

from gpuwarden.agent.events import AnswerProbe, ControllerLink, Event, FromController, ProbeAsked
from gpuwarden.agent.probed import Offered
from gpuwarden.core.address import Address
from gpuwarden.core.channel import open_channel
from gpuwarden.core.config import ConfigError
from gpuwarden.core.version import SESSION, VERSION
from gpuwarden.proto.control_pb2 import (
    Hello,
    OfferedProbe,
    ProbeAnswer,
    ProbeAsk,
    ProbeOutcome,
    SessionRequest,
    SessionResponse,
)
from gpuwarden.proto.control_pb2_grpc import AgentServiceStub
from gpuwarden.proto.finding_pb2 import Evidence
from gpuwarden.proto.lease_pb2 import Sealed

FIRST_PAUSE_S: Final = 0.2
ANSWERS_WAITING: Final = 16
MAX_TEXT_CHARS: Final = 253
LONGEST_PAUSE_S: Final = 1.0  # a controller that restarts within a lease hears of all its nodes before it ends
_OPTIONS: Final = (
    ("grpc.keepalive_time_ms", 2000),  # a dead controller is known within 3 s
    ("grpc.keepalive_timeout_ms", 1000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_receive_message_length", 1 << 20),
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),  # else a new channel would wait out the old one's backoff
)

_log = logging.getLogger("gpuwarden.agent")


class ControllerSession:
    """Open or trying, from construction to `close`."""

    def __init__(
        self, controller: Address, tls_dir: Path | None, node: str, put: Callable[[Event], object], probes: Iterable[Offered] = ()
    ) -> None:
        """`tls_dir` is read anew for every session. `probes` may be asked for."""
        self._controller, self._tls_dir, self._node, self._put = controller, tls_dir, node, put
        self._offered = [OfferedProbe(name=one.name, harmless=one.harmless, needs_w=one.needs_w, deadline_s=one.deadline_s) for one in probes]
        self._stop = threading.Event()
        self._lock = threading.Lock()  # guards the two below
        self._requests: _Requests | None = None
        self._call: Any = None
        self._told: ControllerLink | None = None
        self._thread = threading.Thread(target=self._run, name="session", daemon=True)
        self._thread.start()

    def send(self, sealed: bytes) -> None:
        """A report, unchanged. One that still waits is replaced: the newer tells more."""
        with self._lock:
            if self._requests is not None:
                self._requests.put(SessionRequest(report=Sealed.FromString(sealed)))

    def answer(self, action: AnswerProbe) -> None:
        """What came of a test. On a session that ends before it leaves it is lost: it is said again on the next."""
        with self._lock:
            if self._requests is not None:
                self._requests.answer(SessionRequest(probe=_answer(action)))

    def close(self) -> None:
        self._stop.set()
        with self._lock:
            if self._call is not None:
                self._call.cancel()
        self._thread.join()

    def _run(self) -> None:
        pause_s = FIRST_PAUSE_S
        while not self._stop.is_set():
            reason = self._conversed()
            pause_s = FIRST_PAUSE_S if self._told is not None and self._told.up else min(2 * pause_s, LONGEST_PAUSE_S)
            if not self._stop.is_set():
                self._tell(ControllerLink(False, reason))
            # Jitter, lest a whole row comes back in one instant.
            self._stop.wait(pause_s * random.uniform(0.5, 1.0))

    def _conversed(self) -> str:
        """One session, and why it ended, whatever it was: a thread that cannot start now can in a second, and a node without its
        session stays at its floor for ever."""
        try:
            return self._converse()
        except Exception as why:  # noqa: BLE001 - the one boundary around a session: the next one is tried
            reason = f"{type(why).__name__}: {why}"
            if self._told != ControllerLink(False, reason):  # once, not with every try
                _log.exception("the session with the controller broke")
            return reason

    def _converse(self) -> str:
        """One session, and why it ended."""
        try:
            channel = open_channel(self._controller, self._tls_dir, _OPTIONS)
        except ConfigError as why:
            return f"tls_dir: {why}"
        with channel:
            hello = Hello(version=SESSION.highest, lowest_version=SESSION.lowest, node=self._node, agent_version=VERSION, probes=self._offered)
            requests = _Requests(SessionRequest(hello=hello))
            call = AgentServiceStub(channel).Session(requests)
            self._attach(requests, call)
            try:
                return self._read(call)
            except grpc.RpcError:
                return f"{call.code().name}: {call.details()}"
            finally:
                self._attach(None, None)
                requests.end()

    def _attach(self, requests: "_Requests | None", call: Any) -> None:
        with self._lock:
            self._requests, self._call = requests, call
            if call is not None and self._stop.is_set():
                call.cancel()

    def _read(self, call: Any) -> str:
        response: SessionResponse
        for response in call:
            match response.WhichOneof("message"):
                case "welcome":
                    if response.welcome.version not in SESSION:
                        return f"welcome.version: is {response.welcome.version}, this agent speaks {SESSION}"
                    self._tell(ControllerLink(True, version=response.welcome.version))
                case "grant":
                    self._put(FromController(response.grant.SerializeToString()))
                case "probe":
                    self._ask(response.probe)
        return "the controller ended the session"

    def _ask(self, ask: ProbeAsk) -> None:
        for field, text in (("id", ask.id), ("name", ask.name)):
            if not 0 < len(text) <= MAX_TEXT_CHARS:
                _log.warning("a test is refused: probe.%s: has %d characters, 1 to %d may come", field, len(text), MAX_TEXT_CHARS)
                return
        self._put(ProbeAsked(ask.id, ask.name))

    def _tell(self, link: ControllerLink) -> None:
        if link != self._told:
            self._told = link
            self._put(link)


def _answer(action: AnswerProbe) -> ProbeAnswer:
    result = action.result
    figures = [Evidence(name=one.name, value=one.value, expected=one.expected, unit=one.unit) for one in result.figures]
    outcome = ProbeOutcome.ValueType(result.outcome.value)
    return ProbeAnswer(id=action.id, name=action.name, outcome=outcome, said=result.said, figures=figures, took_s=result.took_s)


class _Requests:
    """What goes up: the hello, then answers, and always the newest report. gRPC iterates it in a thread of its own."""

    def __init__(self, hello: SessionRequest) -> None:
        self._changed = threading.Condition()
        self._hello: SessionRequest | None = hello
        self._report: SessionRequest | None = None
        self._answers = deque[SessionRequest](maxlen=ANSWERS_WAITING)
        self._ended = False

    def put(self, report: SessionRequest) -> None:
        with self._changed:
            self._report = report
            self._changed.notify()

    def answer(self, answer: SessionRequest) -> None:
        with self._changed:
            self._answers.append(answer)
            self._changed.notify()

    def end(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify()

    def __iter__(self) -> "_Requests":
        return self

    def __next__(self) -> SessionRequest:
        with self._changed:
            self._changed.wait_for(lambda: self._ended or self._hello is not None or self._report is not None or bool(self._answers))
            if self._hello is not None:
                hello, self._hello = self._hello, None
                return hello
            if self._answers and not self._ended:
                return self._answers.popleft()
            if self._ended or self._report is None:
                raise StopIteration
            report, self._report = self._report, None
            return report
