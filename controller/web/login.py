"""Logging in and out, and what a request's session allows."""

import hmac
import logging
import time
from typing import Any, Final

import anyio
from prometheus_client import Counter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gpuwarden.controller.web.attempts import Attempts
from gpuwarden.controller.web.body import read_fields
from gpuwarden.controller.web.origin import check_same_origin
from gpuwarden.controller.web.password import NOBODY
from gpuwarden.controller.web.refusal import Rejected
from gpuwarden.controller.web.sessions import Session, Sessions
from gpuwarden.controller.web.users import User, Users

LOGINS: Final = Counter("gpuwarden_controller_web_logins_total", "Attempts to log in to the page", ["result"])
CSRF_HEADER: Final = "x-csrf-token"
_AT_ONCE: Final = 2  # hashes take 32 MiB and a core each

_log = logging.getLogger("gpuwarden.controller")


class Login:
    """Knows who asks. Without `users` nobody can log in, and nothing can be changed."""

    def __init__(self, users: Users | None, needed_to_read: bool) -> None:
        self._users = users
        self._needed_to_read = needed_to_read and users is not None
        self._sessions = Sessions(users) if users else None
        self._attempts = Attempts()
        self._hashing = anyio.CapacityLimiter(_AT_ONCE)

    def routes(self) -> list[Route]:
        told = Route("/api/session", self._tell, methods=["GET"])
        if self._users is None:
            return [told]
        return [told, Route("/login", self._log_in, methods=["POST"]), Route("/logout", self._log_out, methods=["POST"])]

    def may_read(self, request: Request) -> bool:
        return not self._needed_to_read or self._session(request) is not None

    def check_reader(self, request: Request) -> None:
        if not self.may_read(request):
            raise Rejected(401, "NO_SESSION", "nobody is logged in: log in to see this")

    def operator(self, request: Request) -> User:
        """Who asks for this change; Rejected unless a page of ours asks, with the token of an operator's or admin's session."""
        check_same_origin(request)
        session = self._with_token(request)
        if not session.user.role.may_change:
            raise Rejected(403, "NOT_OPERATOR", f"{session.user.name} may look only: the role operator is needed")
        assert self._sessions is not None
        self._sessions.use(_token(request))
        return session.user

    async def _tell(self, request: Request) -> Response:
        return JSONResponse(self._told(self._session(request)))

    async def _log_in(self, request: Request) -> Response:
        check_same_origin(request)
        fields = await read_fields(request, {"name": str, "password": str})
        user = await self._proven(_address(request), fields["name"], fields["password"])
        assert self._sessions is not None
        self._sessions.close(_token(request))
        token = self._sessions.open(user)
        response = JSONResponse(self._told(self._sessions.find(token)))
        https = request.scope["scheme"] == "https"
        response.set_cookie(_cookie(request), token, path="/", httponly=True, samesite="strict", secure=https)
        return response

    async def _log_out(self, request: Request) -> Response:
        check_same_origin(request)
        session = self._with_token(request)
        assert self._sessions is not None
        self._sessions.close(_token(request))
        _log.info("%s logged out of the page", session.user.name)
        response = JSONResponse(self._told(None))
        https = request.scope["scheme"] == "https"
        response.delete_cookie(_cookie(request), path="/", httponly=True, samesite="strict", secure=https)
        return response

    async def _proven(self, address: str, name: str, password: str) -> User:
        """One hash, whoever it is: the time tells nobody which names there are. No name is logged that is not a user's."""
        if (wait_s := self._attempts.take(address)) > 0:
            LOGINS.labels("limited").inc()
            raise Rejected(429, "TOO_MANY_ATTEMPTS", f"too many attempts: try again in {wait_s:.0f} s", retry_after_s=wait_s)
        assert self._users is not None
        user = self._users.find(name)
        secret = user.secret if user else NOBODY
        matches = await anyio.to_thread.run_sync(secret.matches, password, limiter=self._hashing)
        if user is None or not matches:
            LOGINS.labels("refused").inc()
            _log.warning("login to the page refused from %s: %s", address, f"user {user.name}" if user else "no such user")
            raise Rejected(401, "WRONG", "name or password is wrong")
        self._attempts.give_back(address)
        LOGINS.labels("good").inc()
        _log.info("%s (%s) logged in to the page from %s", user.name, user.role, address)
        return user

    def _with_token(self, request: Request) -> Session:
        session = self._session(request)
        if session is None:
            raise Rejected(401, "NO_SESSION", "nobody is logged in: log in again")
        given = request.headers.get(CSRF_HEADER, "")
        if not hmac.compare_digest(given.encode("utf-8", "surrogatepass"), session.csrf.encode()):
            raise Rejected(403, "BAD_CSRF_TOKEN", f"{CSRF_HEADER}: is not this session's")
        return session

    def _session(self, request: Request) -> Session | None:
        return self._sessions.find(_token(request)) if self._sessions else None

    def _told(self, session: Session | None) -> dict[str, Any]:
        told: dict[str, Any] = {"can_login": self._users is not None, "needed_to_read": self._needed_to_read}
        if session is not None:
            left_s = max(0.0, session.ends_s - time.monotonic())
            told |= {"name": session.user.name, "role": session.user.role, "csrf": session.csrf, "ends_in_s": round(left_s, 1)}
        return told


def _cookie(request: Request) -> str:
    """A browser takes `__Host-` from this very host over https only."""
    return "__Host-gpuwarden" if request.scope["scheme"] == "https" else "gpuwarden"


def _token(request: Request) -> str:
    return request.cookies.get(_cookie(request), "")


def _address(request: Request) -> str:
    return request.client.host if request.client else ""
