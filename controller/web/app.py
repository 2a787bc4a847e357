"""The page and what feeds it. Read only: there is no way to change anything from here."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import anyio
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gpuwarden.controller.web.events import Events
from gpuwarden.controller.web.feed import Feed

STATIC: Final = Path(__file__).parent / "static"
# Nothing from elsewhere, nothing inline, no text ever parsed as markup or script, no frame around the page.
CONTENT_SECURITY_POLICY: Final = (
    "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'"
)
_HEADERS: Final = {
    b"content-security-policy": CONTENT_SECURITY_POLICY.encode(),
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-resource-policy": b"same-origin",
    b"cache-control": b"no-cache",
}


def create_app(feed: Feed) -> Starlette:
    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(feed.follow)
            yield
            feed.closing.set()

    return Starlette(routes=_routes(feed), middleware=[Middleware(_Headers)], lifespan=lifespan)


def _routes(feed: Feed) -> list[Route | Mount]:
    async def page(_: Request) -> Response:
        return FileResponse(STATIC / "index.html")

    async def snapshot(_: Request) -> Response:
        text = feed.text()
        return _not_ready() if text is None else Response(text, media_type="application/json")

    async def history(request: Request) -> Response:
        return JSONResponse(feed.history.columns(request.query_params.get("domain", "")))

    async def healthy(_: Request) -> Response:
        return PlainTextResponse("healthy\n")

    async def ready(_: Request) -> Response:
        return PlainTextResponse("ready\n") if feed.live else _not_ready()

    return [
        Route("/", page),
        Route("/api/snapshot", snapshot),
        Route("/api/history", history),
        Route("/events", Events(feed), methods=["GET"]),
        Route("/-/healthy", healthy),
        Route("/-/ready", ready),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]


def _not_ready() -> Response:
    return PlainTextResponse("the controller has given no fresh snapshot\n", status_code=503)


class _Headers:
    """The same headers on every answer, errors included."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name for name, _ in message["headers"]}
                ours = [(name, value) for name, value in _HEADERS.items() if name not in given]
                message["headers"] = [*message["headers"], *ours]
            await send(message)

        await self._app(scope, receive, send_with_headers)
