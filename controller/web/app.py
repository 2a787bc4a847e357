"""The page and what feeds it. Without users who can log in it is read only: nothing can be changed from here."""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import anyio
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from gpuwarden.controller.rpc_refusal import Refused
from gpuwarden.controller.web.certificate import Certificate
from gpuwarden.controller.web.events import Events
from gpuwarden.controller.web.feed import Feed
from gpuwarden.controller.web.headers import Headers
from gpuwarden.controller.web.login import Login
from gpuwarden.controller.web.origin import KnownHosts
from gpuwarden.controller.web.refusal import Rejected, answer_refused, answer_rejected

STATIC: Final = Path(__file__).parent / "static"


def create_app(
    feed: Feed, login: Login, changes: Sequence[BaseRoute], certificate: Certificate | None, hosts: Collection[str]
) -> ASGIApp:
    """`changes` are the ways to change something, none where nobody can log in; `certificate` is kept fresh; `hosts` are names that the page goes by."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(feed.follow)
            if certificate is not None:
                tasks.start_soon(certificate.follow, feed.closing)
            yield
            feed.closing.set()

    routes = [*_open_routes(feed), *_read_routes(feed, login), *login.routes(), *changes]
    errors = {Rejected: answer_rejected, Refused: answer_refused}
    known = Middleware(KnownHosts, names=hosts)
    return Headers(Starlette(routes=routes, middleware=[known], exception_handlers=errors, lifespan=lifespan))


def _open_routes(feed: Feed) -> list[BaseRoute]:
    """What tells nothing of the cluster: the empty page, and whether it works."""

    async def page(_: Request) -> Response:
        return FileResponse(STATIC / "index.html")

    async def healthy(_: Request) -> Response:
        return PlainTextResponse("healthy\n")

    async def ready(_: Request) -> Response:
        return PlainTextResponse("ready\n") if feed.live else _not_ready()

    return [
        Route("/", page),
        Route("/-/healthy", healthy),
        Route("/-/ready", ready),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]


def _read_routes(feed: Feed, login: Login) -> list[BaseRoute]:
    async def snapshot(request: Request) -> Response:
        login.check_reader(request)
        text = feed.text()
        return _not_ready() if text is None else Response(text, media_type="application/json")

    async def history(request: Request) -> Response:
        login.check_reader(request)
        return JSONResponse(feed.history.columns(request.query_params.get("domain", "")))

    return [
        Route("/api/snapshot", snapshot),
        Route("/api/history", history),
        Route("/events", Events(feed, login), methods=["GET"]),
    ]


def _not_ready() -> Response:
    return PlainTextResponse("the controller has given no fresh snapshot\n", status_code=503)
