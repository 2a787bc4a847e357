"""The agents' side: one session for each node, reports and what came of tests into the inboxes, the newest grant and tests that are asked for out."""

import asyncio
import itertools
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection
from threading import Lock
from typing import Final

from prometheus_client import Counter, Gauge

from gpuwarden.controller.access import Access, Context, check_node
from gpuwarden.controller.events import Event, Refuse, ReportArrived, SessionClosed, SessionOpened
from gpuwarden.controller.isolation import events as isolation
from gpuwarden.controller.rpc_probe import offered, probed, unheard
from gpuwarden.controller.rpc_refusal import Refused, abort, invalid
from gpuwarden.core.version import PROBES_SINCE, SESSION, VERSION, Versions
from gpuwarden.proto.control_pb2 import Hello, ProbeAsk, SessionRequest, SessionResponse, Welcome
from gpuwarden.proto.control_pb2_grpc import AgentServiceServicer
from gpuwarden.proto.lease_pb2 import Sealed

HELLO_WITHIN_S: Final = 10.0
MAX_NAME_CHARS: Final = 253  # a DNS name's
_SAY_AGAIN_S: Final = 0.05
_SAY_ISOLATION_AGAIN_S: Final = 1.0
_TRIES: Final = 60
# A limiter reports once a second, and at most ten times as often when power jumps; who floods us waits in his own stream.
_REPORT_GAP_S: Final = 0.01
_ANSWER_GAP_S: Final = 0.2  # each may be a line of the log
_ASKS_MOST: Final = 4

SESSIONS: Final = Gauge("gpuwarden_controller_sessions", "Agents that hold a session")
REPORTS: Final = Counter("gpuwarden_controller_reports_total", "Power reports that came, by what became of them", ["outcome"])
GRANTS: Final = Counter("gpuwarden_controller_grants_total", "Grants ordered, by what became of them", ["outcome"])
_TAKEN, _DROPPED, _SENT = REPORTS.labels("taken"), REPORTS.labels("dropped"), GRANTS.labels("sent")  # to look one up costs as much as to send a grant's bytes

Offer = Callable[[Event], bool]
OfferIsolation = Callable[[isolation.Event], bool]

_log = logging.getLogger("gpuwarden.controller")


class _Session:
    """What waits to go down one stream: of grants a single slot, since a newer one makes the older one worthless, and tests."""

    def __init__(self, number: int, hello: Hello, version: int) -> None:
        self.number, self.node, self.version = number, hello.node, version
        self.probes = offered(hello, version)
        self._grant: bytes | None = None
        self._asks = deque[ProbeAsk](maxlen=_ASKS_MOST)  # one is under way at a time
        self._ended: Refuse | None = None
        self._changed = asyncio.Event()

    def grant(self, sealed: bytes) -> None:
        if self._grant is not None:
            GRANTS.labels("superseded").inc()
        self._grant = sealed
        self._changed.set()

    def ask(self, ask: ProbeAsk) -> None:
        self._asks.append(ask)
        self._changed.set()

    def end(self, why: Refuse) -> None:
        self._ended = why
        self._changed.set()

    async def messages(self) -> AsyncIterator[SessionResponse]:
        """Each grant that was the newest when the stream was free, and tests; Refused once the session is ended from here."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            if self._ended is not None:
                raise Refused(self._ended)
            sealed, self._grant = self._grant, None
            if sealed is not None:
                yield SessionResponse(grant=Sealed.FromString(sealed))
                _SENT.inc()
            while self._asks:
                yield SessionResponse(probe=self._asks.popleft())


class AgentSessions(AgentServiceServicer):
    """Lives in one event loop; only `send` and `ask` may be called from another thread."""

    def __init__(
        self, nodes: Collection[str], offer: Offer, loop: asyncio.AbstractEventLoop, access: Access, offer_isolation: OfferIsolation | None = None
    ) -> None:
        """Without `offer_isolation` nobody asks for tests."""
        self._access, self._offer_isolation = access, offer_isolation
        self._nodes = frozenset(nodes)
        self._offer = offer
        self._loop = loop
        self._numbers = itertools.count(1)
        self._by_number: dict[int, _Session] = {}
        self._by_node: dict[str, _Session] = {}
        self._lock = Lock()
        self._to_send: dict[int, bytes] = {}

    def send(self, session: int, sealed: bytes) -> None:
        """Orders a grant, from any thread. Many orders wake the event loop once."""
        with self._lock:
            first = not self._to_send
            self._to_send[session] = sealed
        if first:
            self._loop.call_soon_threadsafe(self._deal_out)

    def ask(self, node: str, id: str, name: str) -> None:
        """Orders a test of a node, from any thread; answered by one Probed with this id, soon where there is nobody to ask."""
        self._loop.call_soon_threadsafe(self._ask, node, id, name)

    def _ask(self, node: str, id: str, name: str) -> None:
        session = self._by_node.get(node)
        if session is None or session.version < PROBES_SINCE:
            self._tell_probed(unheard(node, id, name))
        else:
            session.ask(ProbeAsk(id=id, name=name))

    def end_all(self, why: Refuse) -> None:
        for session in self._by_number.values():
            session.end(why)

    async def Session(self, request_iterator: AsyncIterator[SessionRequest], context: Context) -> None:  # type: ignore[override]  # the stub knows only generators; grpc.aio takes a coroutine that writes
        try:
            caller = self._access.check(context, "Session")
            hello = await _hello(request_iterator)
            check_node(caller, hello.node)
            session = self._open(hello)
            await self._converse(session, request_iterator, context)
        except Refused as refused:
            await abort(context, refused.why)

    async def _converse(self, session: _Session, requests: AsyncIterator[SessionRequest], context: Context) -> None:
        reason = "cancelled"
        reading = asyncio.create_task(self._read(session, requests))
        writing = asyncio.create_task(_write(session, context))
        try:
            done, _ = await asyncio.wait((reading, writing), return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            reason = "the agent ended it"
        except Refused as refused:
            reason = refused.why.message
            raise
        finally:
            reading.cancel()
            writing.cancel()
            self._forget(session, reason)  # before any await: a stream that ends twice is cancelled there
            await asyncio.gather(reading, writing, return_exceptions=True)

    def _open(self, hello: Hello) -> _Session:
        if hello.node not in self._nodes:
            raise Refused(Refuse(
                "NOT_FOUND", "NODE_UNKNOWN", "hello.node",
                f"hello.node: {hello.node!r} is in no power domain of this controller; add it to its configuration",
            ))
        version = _version(hello)
        assert version is not None, "the hello was checked"
        session = _Session(next(self._numbers), hello, version)
        if (older := self._by_node.get(hello.node)) is not None:
            self._forget(older, "a newer session of this node replaced it")
            older.end(Refuse("ABORTED", "SESSION_REPLACED", "", f"node {hello.node} opened a newer session"))
        if not self._offer(SessionOpened(session.number, hello.node, hello.agent_version)):
            raise Refused(Refuse("UNAVAILABLE", "BUSY", "", "the controller's inbox is full: come again"))
        self._by_number[session.number] = self._by_node[hello.node] = session
        SESSIONS.set(len(self._by_number))
        self._tell_offered(hello.node)
        return session

    def _forget(self, session: _Session, reason: str) -> None:
        if self._by_number.pop(session.number, None) is None:
            return
        if self._by_node.get(session.node) is session:
            del self._by_node[session.node]
            self._tell_offered(session.node)
        SESSIONS.set(len(self._by_number))
        self._tell(SessionClosed(session.number, reason))

    def _tell(self, event: Event) -> None:
        """An end is told once by the network, so it must not be lost to a full inbox."""
        if not self._offer(event):
            self._loop.call_later(_SAY_AGAIN_S, self._tell, event)

    def _tell_offered(self, node: str, tries: int = _TRIES) -> None:
        """What it offers by the time there is room."""
        session = self._by_node.get(node)
        event = isolation.ProbesOffered(node, session.probes if session is not None else ())
        if not self._heard(event, tries):
            self._loop.call_later(_SAY_ISOLATION_AGAIN_S, self._tell_offered, node, tries - 1)

    def _tell_probed(self, event: isolation.Probed, tries: int = _TRIES) -> None:
        if not self._heard(event, tries):
            self._loop.call_later(_SAY_ISOLATION_AGAIN_S, self._tell_probed, event, tries - 1)

    def _heard(self, event: isolation.Probed | isolation.ProbesOffered, tries: int) -> bool:
        """Or given up: where nothing is decided any more there is never room."""
        if self._offer_isolation is None or self._offer_isolation(event):
            return True
        if tries <= 0:
            _log.warning("isolation takes nothing: %s of %s is lost", type(event).__name__, event.node)
        return tries <= 0

    async def _read(self, session: _Session, requests: AsyncIterator[SessionRequest]) -> None:
        free_s = 0.0
        async for request in requests:
            if (early_s := free_s - self._loop.time()) > 0:
                await asyncio.sleep(early_s)
            free_s = self._loop.time() + _REPORT_GAP_S
            if request.WhichOneof("message") == "probe" and session.version >= PROBES_SINCE:
                free_s = self._loop.time() + _ANSWER_GAP_S
                self._tell_probed(probed(session.node, request.probe))
                continue
            sealed = _report(session.node, request).SerializeToString()
            (_TAKEN if self._offer(ReportArrived(session.number, sealed)) else _DROPPED).inc()

    def _deal_out(self) -> None:
        with self._lock:
            to_send, self._to_send = self._to_send, {}
        for number, sealed in to_send.items():
            session = self._by_number.get(number)
            if session is None:
                GRANTS.labels("session_gone").inc()
            else:
                session.grant(sealed)


async def _write(session: _Session, context: Context) -> None:
    await context.write(SessionResponse(welcome=Welcome(version=session.version, controller_version=VERSION)))
    async for message in session.messages():
        await context.write(message)


async def _hello(requests: AsyncIterator[SessionRequest]) -> Hello:
    """The first message, checked, or Refused."""
    try:
        first = await asyncio.wait_for(anext(requests, None), HELLO_WITHIN_S)
    except TimeoutError:
        raise Refused(Refuse("DEADLINE_EXCEEDED", "HELLO_LATE", "hello", f"no hello within {HELLO_WITHIN_S:g} s")) from None
    if first is None or first.WhichOneof("message") != "hello":
        raise invalid("hello", "HELLO_FIRST", "hello: the first message of a session must be hello")
    hello = first.hello
    if _version(hello) is None:
        raise invalid("hello.version", "VERSION_UNKNOWN", f"hello.version: is {hello.version}, this controller speaks {SESSION}")
    for field, text in (("node", hello.node), ("agent_version", hello.agent_version)):
        if not 0 < len(text) <= MAX_NAME_CHARS:
            raise invalid(f"hello.{field}", "BAD_LENGTH", f"hello.{field}: has {len(text)} characters, 1 to {MAX_NAME_CHARS} may come")
    return hello


def _version(hello: Hello) -> int | None:
    return SESSION.agree(Versions(hello.lowest_version or hello.version, hello.version))


def _report(node: str, request: SessionRequest) -> Sealed:
    """The report in a later message, or Refused. Its seal is the machine's to check."""
    if request.WhichOneof("message") != "report":
        raise invalid("report", "REPORT_EXPECTED", "report: after hello every message must be a report")
    report = request.report
    if report.node != node:
        raise invalid("report.node", "OTHER_NODE", f"report.node: is {report.node!r} in a session of {node!r}")
    if not report.payload or not report.seal:
        empty = "report.payload" if not report.payload else "report.seal"
        raise invalid(empty, "EMPTY", f"{empty}: is empty")
    return report
