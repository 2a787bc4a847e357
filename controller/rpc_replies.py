"""Calls that wait for the machine's answer."""

import asyncio
import itertools
from collections.abc import Callable
from typing import Generic, TypeVar

from gpuwarden.controller.events import Refuse
from gpuwarden.controller.rpc_refusal import Refused

E = TypeVar("E")


class Replies(Generic[E]):
    """Tokens and who waits for them. `answer` may be called from any thread, the rest from the event loop."""

    def __init__(self, offer: Callable[[E], bool], loop: asyncio.AbstractEventLoop) -> None:
        self._offer = offer
        self._loop = loop
        self._tokens = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[bytes]] = {}

    async def ask(self, make_event: Callable[[int], E], timeout_s: float) -> bytes:
        """The serialised response, or Refused."""
        token = next(self._tokens)
        future = self._waiting[token] = self._loop.create_future()
        try:
            if not self._offer(make_event(token)):
                raise Refused(Refuse("UNAVAILABLE", "BUSY", "", "the controller's inbox is full: come again"))
            return await asyncio.wait_for(future, timeout_s)
        except TimeoutError:
            raise Refused(Refuse(
                "DEADLINE_EXCEEDED", "NO_ANSWER", "",
                f"no answer within {timeout_s:.1f} s; it may still take effect: ask again with the same request_id",
            )) from None
        finally:
            del self._waiting[token]

    def answer(self, token: int, response: bytes | Refuse) -> None:
        self._loop.call_soon_threadsafe(self._settle, token, response)

    def _settle(self, token: int, response: bytes | Refuse) -> None:
        future = self._waiting.get(token)
        if future is None or future.done():
            return  # the caller's deadline has passed
        if isinstance(response, Refuse):
            future.set_exception(Refused(response))
        else:
            future.set_result(response)
