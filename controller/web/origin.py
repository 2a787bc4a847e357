"""From where a request comes: by which name this server was called, and by whose page."""

import ipaddress
import re
from collections.abc import Collection
from typing import Final

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from gpuwarden.controller.web.refusal import Rejected

_HOST: Final = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+))(?::\d{1,5})?", re.ASCII)


class KnownHosts:
    """Answers to its own names only: a name that somebody points at this address (DNS rebinding) is not one of them.

    The literal address that a connection came in on is, and `localhost` where that is loopback.
    """

    def __init__(self, app: ASGIApp, names: Collection[str]) -> None:
        self._app, self._names = app, frozenset(name.lower() for name in names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self._knows(scope):
            unknown = PlainTextResponse("this server does not go by that name; web_hosts may list it\n", status_code=421)
            return await unknown(scope, receive, send)
        await self._app(scope, receive, send)

    def _knows(self, scope: Scope) -> bool:
        found = _HOST.fullmatch(Headers(scope=scope).get("host", "").lower())
        if found is None:
            return False
        host = found[1] or found[2]
        return host in self._names or _is_local(host, scope["server"][0])


def _is_local(host: str, local: str) -> bool:
    came_in_on = ipaddress.ip_address(local)
    if host == "localhost":
        return came_in_on.is_loopback
    try:
        return ipaddress.ip_address(host) == came_in_on
    except ValueError:
        return False


def check_same_origin(request: Request) -> None:
    """Rejected unless a page of this very server asks. Browsers send Origin with every POST; whoever sends none is refused."""
    ours = f"{request.url.scheme}://{request.headers['host']}".lower()
    site = request.headers.get("sec-fetch-site", "same-origin")
    if request.headers.get("origin", "").lower() != ours or site != "same-origin":
        raise Rejected(403, "OTHER_ORIGIN", "the request comes from another page than this server's")
