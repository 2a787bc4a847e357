"""Requests that change something have one effect for each id, however often they are sent."""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import replace
from typing import Final, Generic, Protocol, TypeVar

from gpuwarden.controller.events import Action, Refuse, Reply

REMEMBERED_REQUESTS: Final = 1024


class Refusal(Exception):
    """Carries the refusal that answers the request."""

    def __init__(self, code: str, reason: str, field: str, message: str) -> None:
        super().__init__(message)
        self.refuse = Refuse(code, reason, field, message)


class Asked(Protocol):
    """What every such request has; it is a dataclass."""

    @property
    def token(self) -> int: ...
    @property
    def actor(self) -> str: ...
    @property
    def request_id(self) -> str: ...


R = TypeVar("R", bound=Asked)


class Answered(Generic[R]):
    """The newest answers, by who asked and the request's id."""

    def __init__(self) -> None:
        self._answers: OrderedDict[tuple[str, str], tuple[R, bytes]] = OrderedDict()

    def answer(self, request: R, acting: Iterator[Action]) -> list[Action]:
        """`acting` ends with the Reply, or raises Refusal before it has done anything."""
        try:
            if (past := self._past(request)) is not None:
                return [Reply(request.token, past)]
            actions = list(acting)
        except Refusal as why:
            return [Reply(request.token, why.refuse)]
        reply = actions[-1]
        assert isinstance(reply, Reply) and isinstance(reply.response, bytes)
        if request.request_id and not getattr(request, "validate_only", False):
            self._answers[request.actor, request.request_id] = request, reply.response
            if len(self._answers) > REMEMBERED_REQUESTS:
                self._answers.popitem(last=False)
        return actions

    def _past(self, request: R) -> bytes | None:
        if (request.actor, request.request_id) not in self._answers:
            return None
        before, response = self._answers[request.actor, request.request_id]
        if _wish(before) != _wish(request):
            raise Refusal("ALREADY_EXISTS", "REQUEST_ID_REUSED", "request_id", "this id came before with another request")
        return response


def _wish(request: Asked) -> object:
    """What is asked for: the same however it is sent, tried out or forced."""
    beside = {name: False for name in ("validate_only", "force") if hasattr(request, name)}
    return replace(request, token=0, **beside)  # type: ignore[type-var]  # every request is a dataclass
