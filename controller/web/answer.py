"""What a person says to a question of isolation, on the very way that a gRPC call takes."""

import asyncio
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gpuwarden.controller.rpc_isolation import approve_event, reject_event
from gpuwarden.controller.web.asking import Ask, actor_of
from gpuwarden.controller.web.body import read_fields
from gpuwarden.controller.web.login import Login
from gpuwarden.proto import control_pb2 as pb

_FIELDS: Final = {"id": str, "approve": bool, "validate_only": bool}


class Answers:
    """Tries out (`validate_only`) or gives an operator's answer; a question takes one."""

    def __init__(self, login: Login, ask: Ask) -> None:
        self._login, self._ask = login, ask

    def routes(self) -> list[Route]:
        return [Route("/api/answer", self._answer, methods=["POST"])]

    async def _answer(self, request: Request) -> Response:
        actor = actor_of(self._login.operator(request))
        fields = await read_fields(request, _FIELDS)
        yes = fields.pop("approve")
        event = approve_event(pb.ApproveRequest(**fields), actor) if yes else reject_event(pb.RejectRequest(**fields), actor)
        return JSONResponse({"sentence": await asyncio.wrap_future(self._ask.isolation(event))})
