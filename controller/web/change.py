"""Setting a budget or a mode from the page, on the very way that a gRPC call takes."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gpuwarden.controller.events import Event
from gpuwarden.controller.rpc_change import budget_event, mode_event
from gpuwarden.controller.web.asking import Ask, actor_of
from gpuwarden.controller.web.body import read_fields
from gpuwarden.controller.web.consequence import of_budget, of_mode
from gpuwarden.controller.web.login import Login
from gpuwarden.controller.web.refusal import Rejected
from gpuwarden.controller.web.users import Role
from gpuwarden.controller.web.view import domain
from gpuwarden.proto import control_pb2 as pb
from gpuwarden.proto.lease_pb2 import Mode

_BUDGET: Final = {"domain": str, "budget_w": float, "request_id": str, "validate_only": bool}
_MODE: Final = {"domain": str, "mode": str, "request_id": str, "validate_only": bool, "force": bool}


class Changes:
    """Tries out (`validate_only`) or does what an operator wants. What it may come to is the machine's to say."""

    def __init__(self, login: Login, ask: Ask) -> None:
        self._login, self._ask = login, ask

    def routes(self) -> list[Route]:
        return [Route("/api/budget", self._budget, methods=["POST"]), Route("/api/mode", self._mode, methods=["POST"])]

    async def _budget(self, request: Request) -> Response:
        actor = actor_of(self._login.operator(request))
        wish = pb.SetBudgetRequest(**await _fields(request, _BUDGET))
        answer = pb.SetBudgetResponse.FromString(await self._answer(budget_event(wish, actor)))
        return _told(answer.domain, of_budget(answer.domain))

    async def _mode(self, request: Request) -> Response:
        user = self._login.operator(request)
        fields, actor = await _fields(request, _MODE), actor_of(user)
        if fields["force"] and user.role is not Role.ADMIN:  # as over gRPC, access.FORCE
            raise Rejected(403, "NOT_ADMIN", f"force: {user.name} is {user.role}, the role admin is needed", field="force")
        wish = pb.SetModeRequest(**fields | {"mode": _mode_number(fields["mode"])})
        answer = pb.SetModeResponse.FromString(await self._answer(mode_event(wish, actor)))
        return _told(answer.domain, of_mode(answer.domain), answer.warning)

    async def _answer(self, make_event: Callable[[int], Event]) -> bytes:
        return await asyncio.wrap_future(self._ask.machine(make_event))


async def _fields(request: Request, fields: dict[str, type]) -> dict[str, Any]:
    given = await read_fields(request, fields)
    if not given["request_id"]:
        raise Rejected(400, "MISSING", "request_id: is empty; it makes a repeat have one effect", field="request_id")
    return given


def _mode_number(word: str) -> "Mode.ValueType":
    try:
        return Mode.Value(f"MODE_{word.upper()}")
    except ValueError:
        raise Rejected(400, "BAD_MODE", f"mode: is {word[:40]!r}, should be observe, notify or auto", field="mode") from None


def _told(shown: pb.PowerDomain, leads_to: list[str], warning: str = "") -> Response:
    return JSONResponse({"domain": domain(shown), "leads_to": leads_to, "warning": warning})
