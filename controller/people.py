"""What people ask of alerts: to take one on, to be left alone for a time. Written down, remembered, answered; the same id twice is one."""

import math
from collections.abc import Collection, Iterator, Mapping
from itertools import count

from gpuwarden.controller.alerts import Alerts
from gpuwarden.controller.answered import Answered, Refusal
from gpuwarden.controller.events import (
    Acknowledge,
    Action,
    EndMaintenance,
    OpenMaintenance,
    RememberMaintenance,
    Reply,
    WriteLedger,
)
from gpuwarden.controller.lines import Lines
from gpuwarden.controller.maintenance import LONGEST_S, MOST_WINDOWS, Window
from gpuwarden.controller.power.hostlist import BadHostlist, expand
from gpuwarden.controller.telling import Group
from gpuwarden.proto.control_pb2 import (
    AcknowledgeAlertResponse,
    Alert,
    EndMaintenanceResponse,
    Maintenance,
    OpenMaintenanceResponse,
)

PeopleRequest = Acknowledge | OpenMaintenance | EndMaintenance


class PeopleRequests:
    """Changes what is told, never what is done."""

    def __init__(self, alerts: Alerts, nodes: Collection[str], domains: Mapping[str, object], lines: Lines) -> None:
        self._alerts, self._nodes, self._domains, self._lines = alerts, nodes, domains, lines
        self._answered = Answered[PeopleRequest]()

    def answer(self, request: PeopleRequest) -> list[Action]:
        match request:
            case Acknowledge():
                return self._answered.answer(request, self._acknowledge(request))
            case OpenMaintenance():
                return self._answered.answer(request, self._open(request))
            case EndMaintenance():
                return self._answered.answer(request, self._end(request))

    def _acknowledge(self, request: Acknowledge) -> Iterator[Action]:
        if not self._alerts.telling.acknowledge(request.key, request.actor):
            raise Refusal("NOT_FOUND", "NO_SUCH_ALERT", "key", f"key: nobody was told of an alert {request.key!r}; see gpuwarden alerts")
        yield WriteLedger((self._lines.line("acknowledge", request.key, "taken on: not escalated", actor=request.actor),))
        shown = alert_shown(self._alerts.telling.groups[request.key])
        yield Reply(request.token, AcknowledgeAlertResponse(alert=shown).SerializeToString())

    def _open(self, request: OpenMaintenance) -> Iterator[Action]:
        window = self._window(request)
        made = maintenance_of(window)
        if not request.validate_only:
            why = f"{window.domain or ', '.join(window.nodes)} for {request.duration_s:,.0f} s: {window.reason}"
            yield WriteLedger((self._lines.line("maintenance", window.id, why, actor=request.actor),))
            self._alerts.windows.add(window)
            yield RememberMaintenance(window.id, made.SerializeToString())
        yield Reply(request.token, OpenMaintenanceResponse(maintenance=made).SerializeToString())

    def _window(self, request: OpenMaintenance) -> Window:
        if bool(request.nodes) == bool(request.domain):
            raise Refusal("INVALID_ARGUMENT", "NODES_OR_DOMAIN", "nodes", "nodes, domain: exactly one of them should be given")
        if not (math.isfinite(request.duration_s) and 0 < request.duration_s <= LONGEST_S):
            raise Refusal("INVALID_ARGUMENT", "BAD_DURATION", "duration_s", f"duration_s: should be above 0 and at most {LONGEST_S:,.0f}")
        if not request.reason.strip():
            raise Refusal("INVALID_ARGUMENT", "NO_REASON", "reason", "reason: is empty; whoever is on call will ask")
        if len(self._alerts.windows.open) >= MOST_WINDOWS:
            raise Refusal("RESOURCE_EXHAUSTED", "TOO_MANY_WINDOWS", "", f"{MOST_WINDOWS} windows are open already; end some")
        if request.domain and request.domain not in self._domains:
            raise Refusal("NOT_FOUND", "UNKNOWN_DOMAIN", "domain", f"domain: there is no power domain {request.domain!r}")
        until_ns = self._lines.unix_ns + round(request.duration_s * 1e9)
        return Window(self._free_id(until_ns), self._known(request.nodes), request.domain, until_ns, request.reason.strip(), request.actor)

    def _free_id(self, until_ns: int) -> str:
        """Two windows that are opened between two ticks end at the same time, and are two all the same."""
        ids = (f"m{until_ns + more}" for more in count())
        return next(id for id in ids if id not in self._alerts.windows.open)

    def _known(self, patterns: tuple[str, ...]) -> tuple[str, ...]:
        try:
            names = tuple(expand(patterns))
        except BadHostlist as why:
            raise Refusal("INVALID_ARGUMENT", "BAD_HOSTLIST", "nodes", f"nodes: {why}") from None
        if strange := [name for name in names if name not in self._nodes]:
            raise Refusal("NOT_FOUND", "UNKNOWN_NODE", "nodes", f"nodes: {', '.join(strange[:5])} in no power domain of this controller")
        return names

    def _end(self, request: EndMaintenance) -> Iterator[Action]:
        window = self._alerts.windows.open.get(request.id)
        if window is None:
            raise Refusal("NOT_FOUND", "NO_SUCH_WINDOW", "id", f"id: no window {request.id!r} is open; see gpuwarden alerts")
        yield WriteLedger((self._lines.line("maintenance", window.id, f"ended: {window.reason}", actor=request.actor),))
        self._alerts.windows.end(window.id)
        yield RememberMaintenance(window.id, None)
        yield Reply(request.token, EndMaintenanceResponse(maintenance=maintenance_of(window)).SerializeToString())


def alert_shown(group: Group) -> Alert:
    """As the API tells it."""
    told = group.last if group.told else None
    said = told or group.newest(list(group.firing.values()))
    return Alert(
        key=group.key, severity=said.severity, title=said.title, text=said.text, level=group.level if group.told else 0,
        acknowledged_by=group.acknowledged_by, firing_count=len(group.firing),
    )


def maintenance_of(window: Window) -> Maintenance:
    return Maintenance(
        id=window.id, nodes=window.nodes, domain=window.domain, until_unix_ns=window.until_unix_ns, reason=window.reason, actor=window.actor
    )


def window_of(payload: bytes) -> Window:
    """As it was remembered."""
    made = Maintenance.FromString(payload)
    return Window(made.id, tuple(made.nodes), made.domain, made.until_unix_ns, made.reason, made.actor)
