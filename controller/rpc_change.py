"""What an operator asks to be changed, as the machine takes it: the same for gRPC and for the page."""

from collections.abc import Callable
from functools import partial
from typing import Final

from gpuwarden.controller import events
from gpuwarden.controller.rpc_refusal import invalid
from gpuwarden.proto import control_pb2 as pb

ANSWER_WITHIN_S: Final = 10.0
MAX_TEXT_CHARS: Final = 253  # of a domain's name or a request's id


def budget_event(request: pb.SetBudgetRequest, actor: str) -> Callable[[int], events.SetBudget]:
    """What makes the event once it has a token; Refused if a text is too long."""
    _check_texts(request)
    return partial(
        events.SetBudget, actor=actor, request_id=request.request_id, domain=request.domain,
        budget_w=request.budget_w, validate_only=request.validate_only,
    )


def mode_event(request: pb.SetModeRequest, actor: str) -> Callable[[int], events.SetMode]:
    """What makes the event once it has a token; Refused if a text is too long."""
    _check_texts(request)
    return partial(
        events.SetMode, actor=actor, request_id=request.request_id, domain=request.domain,
        mode=request.mode, force=request.force, validate_only=request.validate_only,
    )


def _check_texts(request: pb.SetBudgetRequest | pb.SetModeRequest) -> None:
    for field, text in (("domain", request.domain), ("request_id", request.request_id)):
        if len(text) > MAX_TEXT_CHARS:
            raise invalid(field, "TOO_LONG", f"{field}: has {len(text)} characters, at most {MAX_TEXT_CHARS} may come")
