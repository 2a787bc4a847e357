"""The operators' side: reads from the newest snapshot and the ledger, writes through the machine."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import wraps
from typing import Final, TypeVar

from gpuwarden.controller import events
from gpuwarden.controller.access import Access, Caller, Context
from gpuwarden.controller.events import Refuse
from gpuwarden.controller.isolation import events as isolation
from gpuwarden.controller.ledger import HIGHEST_ID, Ledger
from gpuwarden.controller.rpc_change import (
    ANSWER_WITHIN_S,
    acknowledge_event,
    budget_event,
    end_job_floor_event,
    end_maintenance_event,
    meter_event,
    mode_event,
    open_maintenance_event,
    set_job_floor_event,
)
from gpuwarden.controller.rpc_isolation import (
    AskIsolation,
    approve_event,
    choose_event,
    cordon_event,
    reject_event,
    uncordon_event,
)
from gpuwarden.controller.rpc_paging import below_id, page_by_key, page_size
from gpuwarden.controller.rpc_refusal import Refused, abort
from gpuwarden.controller.rpc_replies import Replies
from gpuwarden.controller.snapshot import Board
from gpuwarden.proto import control_pb2 as pb
from gpuwarden.proto.control_pb2_grpc import ControlServiceServicer
from gpuwarden.proto.finding_pb2 import FindingState

WATCH_PERIOD_S: Final = 0.5
MAX_WATCHERS: Final = 16  # each costs the encoding of a whole snapshot twice a second
MAX_WATCHES_EACH: Final = 4  # lest one certificate takes all the seats

Request = TypeVar("Request")
Response = TypeVar("Response")
Method = Callable[["Operators", Request, Context], Awaitable[Response]]


def _refusing(method: Method[Request, Response]) -> Method[Request, Response]:
    """Denies who may not call it, and turns Refused into the call's rich error."""

    @wraps(method)
    async def call(operators: "Operators", request: Request, context: Context) -> Response:
        try:
            operators.access.check(context, method.__name__)
            return await method(operators, request, context)
        except Refused as refused:
            await abort(context, refused.why)

    return call


class Operators(ControlServiceServicer):
    """Sizes are checked here; whether a request can be granted is the machine's to say."""

    def __init__(
        self, board: Board, ledger: Ledger, replies: Replies[events.Event], access: Access, isolation: AskIsolation
    ) -> None:
        self.access = access
        self._board = board
        self._ledger = ledger
        self._replies = replies
        self._isolation = isolation
        self._watching: Counter[Caller] = Counter()

    @_refusing
    async def GetCluster(self, request: pb.GetClusterRequest, context: Context) -> pb.GetClusterResponse:
        return self._newest().cluster

    @_refusing
    async def ListNodes(self, request: pb.ListNodesRequest, context: Context) -> pb.ListNodesResponse:
        nodes = self._newest().nodes
        page, token = page_by_key(nodes, lambda node: node.name, request.page_size, request.page_token)
        return pb.ListNodesResponse(nodes=page, next_page_token=token)

    @_refusing
    async def ListFindings(self, request: pb.ListFindingsRequest, context: Context) -> pb.ListFindingsResponse:
        findings = (
            finding for finding in self._newest().findings
            if request.include_resolved or finding.state == FindingState.FINDING_STATE_FIRING
        )
        page, token = page_by_key(findings, lambda finding: finding.id, request.page_size, request.page_token)
        return pb.ListFindingsResponse(findings=page, next_page_token=token)

    @_refusing
    async def ListActions(self, request: pb.ListActionsRequest, context: Context) -> pb.ListActionsResponse:
        size, below = page_size(request.page_size), below_id(request.page_token, HIGHEST_ID)
        actions = await asyncio.to_thread(self._ledger.newest, size + 1, below)
        token = str(actions[size - 1].id) if len(actions) > size else ""
        return pb.ListActionsResponse(actions=actions[:size], next_page_token=token)

    @_refusing
    async def ListPowerDomains(self, request: pb.ListPowerDomainsRequest, context: Context) -> pb.ListPowerDomainsResponse:
        return pb.ListPowerDomainsResponse(domains=self._newest().cluster.domains)

    @_refusing
    async def SetBudget(self, request: pb.SetBudgetRequest, context: Context) -> pb.SetBudgetResponse:
        event = budget_event(request, self.access.caller(context).told)
        return pb.SetBudgetResponse.FromString(await self._replies.ask(event, _patience_s(context)))

    @_refusing
    async def SetMode(self, request: pb.SetModeRequest, context: Context) -> pb.SetModeResponse:
        self.access.check(context, "SetMode", force=request.force)
        event = mode_event(request, self.access.caller(context).told)
        return pb.SetModeResponse.FromString(await self._replies.ask(event, _patience_s(context)))

    @_refusing
    async def SetJobFloor(self, request: pb.SetJobFloorRequest, context: Context) -> pb.SetJobFloorResponse:
        event = set_job_floor_event(request, self.access.caller(context).told)
        return pb.SetJobFloorResponse.FromString(await self._replies.ask(event, _patience_s(context)))

    @_refusing
    async def EndJobFloor(self, request: pb.EndJobFloorRequest, context: Context) -> pb.EndJobFloorResponse:
        event = end_job_floor_event(request, self.access.caller(context).told)
        return pb.EndJobFloorResponse.FromString(await self._replies.ask(event, _patience_s(context)))

    @_refusing
    async def ReportMeter(self, request: pb.ReportMeterRequest, context: Context) -> pb.ReportMeterResponse:
        event = meter_event(request, self.access.caller(context).told)
        return pb.ReportMeterResponse.FromString(await self._replies.ask(event, _patience_s(context)))

    @_refusing
    async def ListAlerts(self, request: pb.ListAlertsRequest, context: Context) -> pb.ListAlertsResponse:
        newest = self._newest()
        return pb.ListAlertsResponse(alerts=newest.alerts, maintenance=newest.maintenance)

    @_refusing
    async def AcknowledgeAlert(self, request: pb.AcknowledgeAlertRequest, context: Context) -> pb.AcknowledgeAlertResponse:
        event = acknowledge_event(request, self.access.caller(context).told)
        return pb.AcknowledgeAlertResponse.FromString(await self._replies.ask(event, _patience_s(context)))

    @_refusing
    async def OpenMaintenance(self, request: pb.OpenMaintenanceRequest, context: Context) -> pb.OpenMaintenanceResponse:
        event = open_maintenance_event(request, self.access.caller(context).told)
        return pb.OpenMaintenanceResponse.FromString(await self._replies.ask(event, _patience_s(context)))

    @_refusing
    async def EndMaintenance(self, request: pb.EndMaintenanceRequest, context: Context) -> pb.EndMaintenanceResponse:
        event = end_maintenance_event(request, self.access.caller(context).told)
        return pb.EndMaintenanceResponse.FromString(await self._replies.ask(event, _patience_s(context)))

    @_refusing
    async def GetIsolation(self, request: pb.GetIsolationRequest, context: Context) -> pb.GetIsolationResponse:
        newest = self._newest()
        return pb.GetIsolationResponse(isolation=newest.isolation if newest.HasField("isolation") else None)

    @_refusing
    async def Approve(self, request: pb.ApproveRequest, context: Context) -> pb.ApproveResponse:
        return pb.ApproveResponse(sentence=await self._said(approve_event(request, self.access.caller(context).told), context))

    @_refusing
    async def Reject(self, request: pb.RejectRequest, context: Context) -> pb.RejectResponse:
        return pb.RejectResponse(sentence=await self._said(reject_event(request, self.access.caller(context).told), context))

    @_refusing
    async def Cordon(self, request: pb.CordonRequest, context: Context) -> pb.CordonResponse:
        return pb.CordonResponse(sentence=await self._said(cordon_event(request, self.access.caller(context).told), context))

    @_refusing
    async def Uncordon(self, request: pb.UncordonRequest, context: Context) -> pb.UncordonResponse:
        return pb.UncordonResponse(sentence=await self._said(uncordon_event(request, self.access.caller(context).told), context))

    @_refusing
    async def SetIsolationMode(self, request: pb.SetIsolationModeRequest, context: Context) -> pb.SetIsolationModeResponse:
        return pb.SetIsolationModeResponse(sentence=await self._said(choose_event(request, self.access.caller(context).told), context))

    async def _said(self, make_event: Callable[[int], isolation.Event], context: Context) -> str:
        return await self._isolation.said(make_event, _patience_s(context))

    async def Watch(self, request: pb.WatchRequest, context: Context) -> AsyncIterator[pb.WatchResponse]:
        try:
            caller = self.access.check(context, "Watch")
        except Refused as denied:
            await abort(context, denied.why)
        if (full := self._full(caller)) is not None:
            await abort(context, Refuse("RESOURCE_EXHAUSTED", "TOO_MANY_WATCHERS", "", full))
        self._watching[caller] += 1
        try:
            async for snapshot in self._changes():
                yield snapshot
        finally:
            self._watching[caller] -= 1

    def _full(self, caller: Caller) -> str | None:
        """Why there is no seat for one more. Without certificates all who watch are one caller."""
        if self._watching.total() >= MAX_WATCHERS:
            return f"{MAX_WATCHERS} are watching already"
        if caller.name and self._watching[caller] >= MAX_WATCHES_EACH:
            return f"{caller.told} is watching {MAX_WATCHES_EACH} times already"
        return None

    async def _changes(self) -> AsyncIterator[pb.WatchResponse]:
        seen = None
        while True:
            if (newest := self._board.newest()) is not None and newest is not seen:
                seen = newest
                yield newest
            await asyncio.sleep(WATCH_PERIOD_S)

    def _newest(self) -> pb.WatchResponse:
        if (newest := self._board.newest()) is None:
            raise Refused(Refuse("UNAVAILABLE", "NOT_READY", "", "the controller has just started: come again"))
        return newest


def _patience_s(context: Context) -> float:
    left_s = context.time_remaining()
    return ANSWER_WITHIN_S if left_s is None else min(left_s, ANSWER_WITHIN_S)
