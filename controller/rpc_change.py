"""What an operator asks to be changed, as the machine takes it: the same for gRPC and for the page."""

from collections.abc import Callable, Collection
from functools import partial
from typing import Final

from gpuwarden.controller import events
from gpuwarden.controller.rpc_refusal import invalid
from gpuwarden.proto import control_pb2 as pb

ANSWER_WITHIN_S: Final = 10.0
MAX_PATTERNS: Final = 256
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


def meter_event(request: pb.ReportMeterRequest, actor: str) -> Callable[[int], events.ReportMeter]:
    """As above."""
    check_lengths(domain=request.domain, limit=request.limit, request_id=request.request_id)
    return partial(
        events.ReportMeter, actor=actor, request_id=request.request_id, domain=request.domain, limit=request.limit,
        power_w=request.power_w, age_s=request.age_s,
    )


def acknowledge_event(request: pb.AcknowledgeAlertRequest, actor: str) -> Callable[[int], events.Acknowledge]:
    """As above."""
    check_lengths(key=request.key, request_id=request.request_id)
    return partial(events.Acknowledge, actor=actor, request_id=request.request_id, key=request.key)


def set_job_floor_event(request: pb.SetJobFloorRequest, actor: str) -> Callable[[int], events.SetJobFloor]:
    """As above; and Refused if there are too many patterns."""
    _check_patterns(request.nodes)
    check_lengths(job=request.job, request_id=request.request_id)
    return partial(
        events.SetJobFloor, actor=actor, request_id=request.request_id, job=request.job, nodes=tuple(request.nodes),
        floor_w=request.floor_w, duration_s=request.duration_s, validate_only=request.validate_only,
    )


def end_job_floor_event(request: pb.EndJobFloorRequest, actor: str) -> Callable[[int], events.EndJobFloor]:
    """As above."""
    check_lengths(job=request.job, request_id=request.request_id)
    return partial(events.EndJobFloor, actor=actor, request_id=request.request_id, job=request.job)


def open_maintenance_event(request: pb.OpenMaintenanceRequest, actor: str) -> Callable[[int], events.OpenMaintenance]:
    """As above; and Refused if there are too many patterns."""
    _check_patterns(request.nodes)
    check_lengths(domain=request.domain, reason=request.reason, request_id=request.request_id)
    return partial(
        events.OpenMaintenance, actor=actor, request_id=request.request_id, nodes=tuple(request.nodes), domain=request.domain,
        duration_s=request.duration_s, reason=request.reason, validate_only=request.validate_only,
    )


def end_maintenance_event(request: pb.EndMaintenanceRequest, actor: str) -> Callable[[int], events.EndMaintenance]:
    """As above."""
    check_lengths(id=request.id, request_id=request.request_id)
    return partial(events.EndMaintenance, actor=actor, request_id=request.request_id, id=request.id)


def _check_texts(request: pb.SetBudgetRequest | pb.SetModeRequest) -> None:
    check_lengths(domain=request.domain, request_id=request.request_id)


def _check_patterns(nodes: Collection[str]) -> None:
    if len(nodes) > MAX_PATTERNS:
        raise invalid("nodes", "TOO_MANY", f"nodes: are {len(nodes)} patterns, at most {MAX_PATTERNS} may come")
    for pattern in nodes:
        check_lengths(nodes=pattern)


def check_lengths(**texts: str) -> None:
    """Refused if one of these fields is too long."""
    for field, text in texts.items():
        if len(text) > MAX_TEXT_CHARS:
            raise invalid(field, "TOO_LONG", f"{field}: has {len(text)} characters, at most {MAX_TEXT_CHARS} may come")
