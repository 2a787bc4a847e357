"""A refused call, as gRPC's rich errors say it."""

from collections.abc import Iterator
from typing import Any, Final, NoReturn

import grpc
from google.protobuf.any_pb2 import Any as Packed
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import (  # type: ignore[import-untyped]  # ships no types
    BadRequest,
    ErrorInfo,
    PreconditionFailure,
    RetryInfo,
)
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]  # ships no types

from gpuwarden.controller.events import Refuse

DOMAIN: Final = "gpuwarden"
_DETAILS_KEY: Final = "grpc-status-details-bin"
_RETRY_AFTER_S: Final = 1
_PASSES = ("UNAVAILABLE", "RESOURCE_EXHAUSTED")


class Refused(Exception):
    """Ends a call with this refusal."""

    def __init__(self, why: Refuse) -> None:
        super().__init__(why.message)
        self.why = why


def invalid(field: str, reason: str, message: str) -> Refused:
    return Refused(Refuse("INVALID_ARGUMENT", reason, field, message))


def to_status(why: Refuse) -> Status:
    """The google.rpc.Status that a client's library unpacks."""
    code: int = grpc.StatusCode[why.code].value[0]
    details = []
    for detail in _details(why):
        packed = Packed()
        packed.Pack(detail)
        details.append(packed)
    return Status(code=code, message=why.message, details=details)


async def abort(context: "grpc.aio.ServicerContext[Any, Any]", why: Refuse) -> NoReturn:
    # grpc.aio's abort_with_status raises NotImplementedError; the details go into the trailing metadata by hand.
    trailing = ((_DETAILS_KEY, to_status(why).SerializeToString()),)
    await context.abort(grpc.StatusCode[why.code], why.message, trailing)


def _details(why: Refuse) -> Iterator[Message]:
    yield ErrorInfo(reason=why.reason, domain=DOMAIN, metadata={"field": why.field} if why.field else {})
    if why.field:
        yield BadRequest(field_violations=[
            BadRequest.FieldViolation(field=why.field, description=why.message, reason=why.reason)
        ])
    if why.code == "FAILED_PRECONDITION":
        yield PreconditionFailure(violations=[
            PreconditionFailure.Violation(type=why.reason, subject=why.field, description=why.message)
        ])
    if why.code in _PASSES:
        yield RetryInfo(retry_delay=Duration(seconds=_RETRY_AFTER_S))
