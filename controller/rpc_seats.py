"""How many calls each caller may have open, whatever it calls, so that one certificate cannot lock the others out.

Health and reflection ask for no role, a session for none before it is open, and all of them hold a place in the server. So seats are
counted before any of it: each node of ours has its own, and all others share theirs.
"""

import inspect
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from typing import Any, Final, TypeAlias

import grpc

from gpuwarden.controller.access import DENIED, Context, Role, holder
from gpuwarden.controller.events import Refuse
from gpuwarden.controller.rpc_refusal import abort

AGENT_CALLS: Final = 8  # two sessions while one replaces the other, those of a flapping network, a look at our health
CALLS_EACH: Final = 16
OTHER_CALLS: Final = 64

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Continuation: TypeAlias = "Callable[[Details], Awaitable[Handler | None]]"
Details: TypeAlias = grpc.HandlerCallDetails


class Seats(grpc.aio.ServerInterceptor):
    """Lives in the server's event loop."""

    def __init__(self, nodes: Collection[str]) -> None:
        self._nodes = frozenset(nodes)
        self._taken: Counter[str] = Counter()
        self._others = 0

    async def intercept_service(self, continuation: Continuation, handler_call_details: Details) -> "Handler | None":
        handler = await continuation(handler_call_details)
        return None if handler is None else self._seated(handler)

    def _seated(self, handler: Handler) -> Handler:
        """The same handler, which takes a seat first."""
        way = ("stream" if handler.request_streaming else "unary") + "_" + ("stream" if handler.response_streaming else "unary")
        make = getattr(grpc, f"{way}_rpc_method_handler")
        made: Handler = make(self._taking(getattr(handler, way)), handler.request_deserializer, handler.response_serializer)
        return made

    def _taking(self, behaviour: Callable[[Any, Context], Any]) -> Callable[[Any, Context], Any]:
        """grpc.aio tells coroutines from generators by their kind, so the kind stays."""

        async def answer(request: Any, context: Context) -> Any:
            await self._take(context)
            return await behaviour(request, context)

        async def stream(request: Any, context: Context) -> AsyncIterator[Any]:
            await self._take(context)
            async for response in behaviour(request, context):
                yield response

        return stream if inspect.isasyncgenfunction(behaviour) else answer

    async def _take(self, context: Context) -> None:
        caller = holder(context)
        own = caller is not None and caller.role is Role.AGENT and caller.name in self._nodes
        told = caller.told if caller else "a certificate without a role"
        if (full := self._full(told, own)) is not None:
            DENIED.labels("TOO_MANY_CALLS").inc()
            await abort(context, Refuse("RESOURCE_EXHAUSTED", "TOO_MANY_CALLS", "", full))
        self._count(told, own, 1)
        context.add_done_callback(lambda _: self._count(told, own, -1))  # type: ignore[arg-type]  # it is given the context

    def _full(self, told: str, own: bool) -> str | None:
        """Why there is no seat."""
        most = AGENT_CALLS if own else CALLS_EACH
        if self._taken[told] >= most:
            return f"{told} has {most} calls open already"
        if not own and self._others >= OTHER_CALLS:
            return f"{OTHER_CALLS} calls are open already beside the nodes' sessions"
        return None

    def _count(self, told: str, own: bool, change: int) -> None:
        self._taken[told] += change
        if not self._taken[told]:
            del self._taken[told]  # names come and go
        self._others += 0 if own else change
