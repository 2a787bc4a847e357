"""Readings of meters as they come in: by our own polling, or on somebody's word over gRPC."""

from collections.abc import Iterator, Mapping

from gpuwarden.controller.answered import Answered, Refusal
from gpuwarden.controller.events import Action, MeterEvent, MeterFailed, MeterRead, Reply, ReportMeter
from gpuwarden.controller.power.keeper import Keeper
from gpuwarden.controller.power.meters import BadReading
from gpuwarden.controller.requests import keeper_named
from gpuwarden.core.machine import Level, Say
from gpuwarden.proto.control_pb2 import ReportMeterResponse


class Metering:
    """Hands readings to the domains' meters. A reading changes no grant by itself: the next decision does."""

    def __init__(self, keepers: Mapping[str, Keeper]) -> None:
        self._keepers = keepers
        self._answered = Answered[ReportMeter]()

    def take(self, now_s: float, event: MeterEvent) -> list[Action]:
        match event:
            case MeterRead():
                return self._read(now_s, event)
            case MeterFailed():
                return self._failed(event)
            case ReportMeter():
                return self._answered.answer(event, self._report(now_s, event))

    def _read(self, now_s: float, event: MeterRead) -> list[Action]:
        meters = self._keepers[event.domain].meters
        try:
            meters.read(now_s, event.limit, event.power_w, event.age_s)
        except BadReading as why:
            return self._failed(MeterFailed(event.domain, event.limit, str(why)))
        return []

    def _failed(self, event: MeterFailed) -> list[Action]:
        """Said at the first, second, fourth, eighth time: nobody can flood the log."""
        meter = self._keepers[event.domain].meters.by_limit[event.limit]
        meter.failure, meter.failures = event.reason, meter.failures + 1
        if meter.failures.bit_count() != 1:
            return []
        return [Say(f"meter of {event.domain}/{event.limit}: no reading, {meter.failures} by now: {event.reason}", Level.WARNING)]

    def _report(self, now_s: float, request: ReportMeter) -> Iterator[Action]:
        meters = keeper_named(self._keepers, request.domain).meters
        meter = meters.by_limit.get(request.limit)
        if meter is not None and meter.config.kind != "grpc":
            raise Refusal("FAILED_PRECONDITION", "OTHER_KIND", "limit", f"limit: the meter of {request.limit} is of kind {meter.config.kind}, not grpc")
        try:
            meters.read(now_s, request.limit, request.power_w, request.age_s)
        except BadReading as why:
            code, reason = ("NOT_FOUND", "NO_SUCH_METER") if why.field == "limit" else ("INVALID_ARGUMENT", "BAD_READING")
            raise Refusal(code, reason, why.field, str(why)) from None
        yield Reply(request.token, ReportMeterResponse(foreign_w=meters.by_limit[request.limit].foreign_w).SerializeToString())
