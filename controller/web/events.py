"""The newest snapshot to each viewer, at most twice a second (server-sent events, as the HTML standard has them)."""

from collections.abc import AsyncIterator
from typing import Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.types import Receive, Scope, Send

from gpuwarden.controller.web.feed import Feed
from gpuwarden.controller.web.login import Login

VIEWERS: Final = 32
_RETRY_MS: Final = 1000


class Events:
    """`/events`. A slow viewer skips snapshots: only the newest is ever sent, and none is queued.

    It ends with the session, where one is needed to read.
    """

    def __init__(self, feed: Feed, login: Login) -> None:
        self._feed = feed
        self._login = login
        self.viewers = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        self._login.check_reader(request)
        if self.viewers >= VIEWERS:
            full = PlainTextResponse(f"{VIEWERS} viewers are here already\n", 503, headers={"retry-after": "5"})
            return await full(scope, receive, send)
        self.viewers += 1
        try:
            headers = {"x-accel-buffering": "no"}
            stream = StreamingResponse(self._events(request), media_type="text/event-stream", headers=headers)
            await stream(scope, receive, send)
        finally:
            self.viewers -= 1

    async def _events(self, request: Request) -> AsyncIterator[str]:
        yield f"retry: {_RETRY_MS}\n\n"
        seen = 0
        while not self._feed.closing.is_set() and self._login.may_read(request):
            if self._feed.version > seen:
                seen = self._feed.version
                yield f"event: snapshot\ndata: {self._feed.text()}\n\n"
            yield f"event: age\ndata: {self._feed.age_text()}\n\n"
            await self._feed.pause()
