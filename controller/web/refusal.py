"""A refused request, as the page's JSON says it: field, reason and a sentence, as the API has them."""

import math
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gpuwarden.controller.rpc_refusal import Refused

# google.rpc's codes in HTTP's numbers, as google.api.http maps them; only a failed precondition is told apart from a bad argument.
_STATUS: Final = {
    "INVALID_ARGUMENT": 400, "NOT_FOUND": 404, "ALREADY_EXISTS": 409, "FAILED_PRECONDITION": 409,
    "RESOURCE_EXHAUSTED": 429, "UNIMPLEMENTED": 501, "UNAVAILABLE": 503, "DEADLINE_EXCEEDED": 504,
}  # fmt: skip


class Rejected(Exception):
    """Ends a request before the machine is asked."""

    def __init__(self, status: int, reason: str, message: str, *, field: str = "", retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.status, self.reason, self.field, self.retry_after_s = status, reason, field, retry_after_s


def answer_rejected(_: Request, why: Exception) -> Response:
    assert isinstance(why, Rejected)
    headers = {"retry-after": str(math.ceil(why.retry_after_s))} if why.retry_after_s else {}
    return JSONResponse({"reason": why.reason, "field": why.field, "message": str(why)}, why.status, headers)


def answer_refused(_: Request, why: Exception) -> Response:
    """What the machine, or the way to it, has refused."""
    assert isinstance(why, Refused)
    said = why.why
    return JSONResponse({"reason": said.reason, "field": said.field, "message": said.message}, _STATUS[said.code])
