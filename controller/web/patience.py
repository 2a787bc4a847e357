"""Connections on which nobody asks for anything take no room from those on which somebody does.

uvicorn gives a connection all the time in the world for its first request, and counts it among those it has room for.
"""

import asyncio
from ipaddress import ip_address
from typing import Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

ASK_WITHIN_S: Final = 5.0  # for a whole request's head; its body has a deadline of its own
MOST_WAITING: Final = 64
MOST_OF_ONE_ADDRESS: Final = 48


class Prompt(H11Protocol):
    """Closed when it has waited too long for a request, or longest of too many that wait."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._deadline: asyncio.TimerHandle | None = None
        self.waits_since_s = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._wait()
        others = [one for one in self.connections if isinstance(one, Prompt)]
        if self._crowds(others):
            transport.abort()
        elif len(waiting := [one for one in others if one.waiting]) > MOST_WAITING:
            min(waiting, key=lambda one: one.waits_since_s).transport.abort()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._deadline is not None:
            self._deadline.cancel()

    @property
    def waiting(self) -> bool:
        return (self.cycle is None or self.cycle.response_complete) and not self.transport.is_closing()

    @property
    def host(self) -> str:
        """Empty where it has gone before we could ask."""
        return self.client[0] if self.client else ""

    def _wait(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self.waits_since_s = self.loop.time()
        self._deadline = self.loop.call_later(ASK_WITHIN_S, self._give_up)

    def _give_up(self) -> None:
        if self.waiting:
            self.transport.abort()

    def _crowds(self, others: "list[Prompt]") -> bool:
        """Behind this machine's own address many people may come, by a tunnel or a proxy."""
        same = sum(one.host == self.host for one in others)
        return same > MOST_OF_ONE_ADDRESS and self.host != "" and not ip_address(self.host).is_loopback
