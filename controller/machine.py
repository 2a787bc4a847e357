"""The controller's decisions: reports and findings in; grants, ledger lines, alerts and answers out.

Every domain is decided five times a second, and at once when power moves by a step. A grant leaves only in the step that
has just checked it on fresh readings; what a step changes is in the ledger before it leaves.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from gpuwarden.controller.alerts import Alerts, AlertSetup
from gpuwarden.controller.events import (
    Acknowledge,
    Action,
    EndJobFloor,
    EndMaintenance,
    Event,
    FindingArrived,
    MeterEvent,
    MeterFailed,
    MeterRead,
    OpenMaintenance,
    OutOfBandDone,
    Publish,
    RememberEpoch,
    RememberForeign,
    RememberHeat,
    RememberLearnt,
    ReportArrived,
    ReportMeter,
    SessionClosed,
    SessionOpened,
    SetBudget,
    SetJobFloor,
    SetMode,
    Tick,
    ToldOfIsolation,
    WriteLedger,
)
from gpuwarden.controller.grants import Authority, give
from gpuwarden.controller.job_floors import JobFloors
from gpuwarden.controller.lines import Lines
from gpuwarden.controller.metering import Metering
from gpuwarden.controller.out_of_band import OutOfBandOrders
from gpuwarden.controller.out_of_band_config import OutOfBandConfig
from gpuwarden.controller.people import PeopleRequests
from gpuwarden.controller.picture import Picture
from gpuwarden.controller.power.domain import DomainConfig
from gpuwarden.controller.power.foreign_kept import LimitForeign
from gpuwarden.controller.power.keeper import Keeper, Timing, keeper_of
from gpuwarden.controller.power.learnt_kept import LimitLearnt
from gpuwarden.controller.power.least import JobFloor
from gpuwarden.controller.power.limit_heat import LimitHeat
from gpuwarden.controller.record import NodeRecord, Refused
from gpuwarden.controller.remembered import Remembered, recall
from gpuwarden.controller.requests import Requests
from gpuwarden.controller.turns import Turns
from gpuwarden.core.machine import Level, Say
from gpuwarden.core.version import VERSION
from gpuwarden.proto.control_pb2 import GetClusterResponse
from gpuwarden.proto.lease_pb2 import PowerReport


@dataclass(frozen=True, slots=True)
class ControllerSetup:
    """All that a controller begins with but the nodes' keys. `past_epoch` is the highest that the ledger knows, 0 if none. `watched`: somebody may look
    at pictures of the cluster; else none is drawn."""

    controller_id: str
    past_epoch: int
    domains: tuple[DomainConfig, ...]
    remembered: tuple[Remembered, ...]
    timing: Timing
    alerts: AlertSetup = field(default_factory=AlertSetup)
    heats: tuple[LimitHeat, ...] = ()
    out_of_band: OutOfBandConfig | None = None
    foreign: tuple[LimitForeign, ...] = ()
    job_floors: tuple[JobFloor, ...] = ()
    learnt: tuple[LimitLearnt, ...] = ()
    watched: bool = True


class Controller:
    """The machine. Nodes are those of the setup's domains; `keys` has one for each."""

    def __init__(self, setup: ControllerSetup, keys: Mapping[str, bytes]) -> None:
        self.keepers: dict[str, Keeper] = {}
        self._opening: list[Action] = []
        for config in setup.domains:
            (budget_w, mode), said = recall(config, setup.remembered)
            self.keepers[config.name] = keeper_of(config, setup.timing, keys, budget_w, mode, setup.heats, setup.foreign, setup.learnt)
            self._opening += said
        self.turns = Turns({name: len(keeper.nodes) for name, keeper in self.keepers.items()})
        self._nodes = {node.name: (keeper, node) for keeper in self.keepers.values() for node in keeper.nodes}
        self._sessions: dict[int, NodeRecord] = {}
        self._authority = Authority(setup.controller_id, setup.past_epoch)
        self._lines = Lines()
        self._alerts = Alerts(setup.alerts, list(self.keepers.values()))
        self._requests = Requests(self.keepers, self._lines)
        self._floors = JobFloors(self.keepers, setup.job_floors, self._lines)
        self._opening += self._floors.opening()
        self._metering = Metering(self.keepers)
        self._out_of_band = OutOfBandOrders(setup.out_of_band, list(self.keepers.values()), self._lines)
        self._people = PeopleRequests(self._alerts, self._nodes, self.keepers, self._lines)
        self._picture = Picture(list(self.keepers.values())) if setup.watched else None

    @property
    def epoch(self) -> int:
        return self._authority.epoch

    def step(self, now_s: float, event: Event) -> list[Action]:
        """One event; the actions are to be performed in order, and a failing one ends the list."""
        if isinstance(event, Tick):
            self._lines.unix_ns = event.unix_ns
        if self._authority.epoch == self._authority.past:
            return [*self._begin(), *self._decided(now_s, event)]
        return self._decided(now_s, event)

    def _begin(self) -> list[Action]:
        said, self._opening = self._opening, []
        return [*said, *self._new_epoch(self._authority.past, f"gpuwarden {VERSION} started")]

    def _decided(self, now_s: float, event: Event) -> list[Action]:
        match event:
            case Tick():
                return list(self._tick(now_s))
            case ReportArrived():
                return list(self._report(now_s, event))
            case SessionOpened():
                return self._opened(event)
            case SessionClosed():
                return self._closed(event)
            case FindingArrived():
                return self._alerts.finding(event.payload, self._lines)
            case SetBudget() | SetMode():
                return self._requested(now_s, event)
            case SetJobFloor() | EndJobFloor():
                return self._floors.answer(event)
            case Acknowledge() | OpenMaintenance() | EndMaintenance():
                return self._people.answer(event)
            case MeterRead() | MeterFailed() | ReportMeter():
                return list(self._metered(now_s, event))
            case OutOfBandDone():
                return self._out_of_band.done(event)
            case ToldOfIsolation():
                return self._alerts.of_isolation(event, self._lines)

    def _tick(self, now_s: float) -> Iterator[Action]:
        for domain in self.turns.due(now_s):
            yield from self._decide(now_s, self.keepers[domain])
        yield from self._floors.tick()
        yield from self._alerts.tick(now_s, self._lines)
        yield from self._out_of_band.tick(now_s)
        if self._picture is not None and (whole := self._picture.tick(now_s, self._cluster(), self._alerts, self._lines)) is not None:
            yield Publish(whole)

    def _decide(self, now_s: float, keeper: Keeper) -> Iterator[Action]:
        decision = keeper.decide(now_s)
        if keeper.foreign_changes:
            yield RememberForeign(keeper.foreign_changes)
        if not decision.learning and (heats := keeper.heat_changes()):
            yield RememberHeat(heats)
        if learnt := keeper.learnt_changes(now_s):
            yield RememberLearnt(learnt)
        yield from give(now_s, keeper, decision, self._authority, self._lines)

    def _report(self, now_s: float, event: ReportArrived) -> Iterator[Action]:
        node = self._sessions.get(event.session)
        if node is None:
            return
        try:
            urgent = node.take(now_s, event.sealed, self._authority.epoch)
        except Refused as why:
            node.refused += 1
            if node.refused.bit_count() == 1:  # the first, second, fourth, eighth: nobody can flood the log
                yield Say(f"{node.name}: report refused, {node.refused} by now: {why}", Level.WARNING)
            return
        yield from self._overtaken(node)
        if urgent:
            yield from self._decide_at_once(now_s, self._nodes[node.name][0])

    def _metered(self, now_s: float, event: MeterEvent) -> Iterator[Action]:
        yield from self._metering.take(now_s, event)
        keeper = self.keepers.get(event.domain)
        if keeper is not None and keeper.meters.risen(event.limit):
            yield from self._decide_at_once(now_s, keeper)

    def _decide_at_once(self, now_s: float, keeper: Keeper) -> Iterator[Action]:
        if self.turns.at_once(keeper.config.name, now_s):
            yield from self._decide(now_s, keeper)

    def _requested(self, now_s: float, event: SetBudget | SetMode) -> list[Action]:
        if event.domain in self.keepers:
            self.turns.hurry(event.domain)
        return self._requests.set_budget(now_s, event) if isinstance(event, SetBudget) else self._requests.set_mode(now_s, event)

    def _overtaken(self, node: NodeRecord) -> list[Action]:
        """Somebody else has granted meanwhile. A limiter that has obeyed a higher epoch than ours would refuse us for ever; one that has
        obeyed ours from another tells that two began at once, or that we began from an older ledger."""
        assert node.report is not None
        if node.report.epoch < self._authority.epoch or (node.report.epoch == self._authority.epoch and self._ours(node, node.report)):
            return []
        for keeper in self.keepers.values():
            keeper.loads.forget_heat()
        return self._new_epoch(node.report.epoch, f"{node.name} has obeyed epoch {node.report.epoch}")

    def _ours(self, node: NodeRecord, report: PowerReport) -> bool:
        """A limiter that has obeyed our epoch has it from us."""
        return node.sequence > 0 and not (report.HasField("grant") and report.grant.controller_id != self._authority.controller_id)

    def _new_epoch(self, past: int, reason: str) -> list[Action]:
        self._authority.epoch = past + 1
        line = self._lines.line("epoch", self._authority.controller_id, reason, epoch=self._authority.epoch)
        return [RememberEpoch(self._authority.epoch), WriteLedger((line,)), Say(f"epoch {self._authority.epoch}: {reason}")]

    def _opened(self, event: SessionOpened) -> list[Action]:
        if event.node not in self._nodes:
            return [Say(f"session of {event.node!r}, which is in no domain, is ignored", Level.WARNING)]
        node = self._nodes[event.node][1]
        if node.session is not None:
            del self._sessions[node.session]
        node.opened(event.session, event.agent_version)
        self._sessions[event.session] = node
        return [Say(f"{event.node}: session opened by agent {event.agent_version}")]

    def _closed(self, event: SessionClosed) -> list[Action]:
        node = self._sessions.pop(event.session, None)
        if node is None:
            return []
        node.closed()
        return [Say(f"{node.name}: session closed: {event.reason}", Level.WARNING)]

    def _cluster(self) -> GetClusterResponse:
        return GetClusterResponse(
            controller_id=self._authority.controller_id,
            controller_version=VERSION,
            epoch=self._authority.epoch,
            unix_ns=self._lines.unix_ns,
        )
