"""What the controller's machine is told, and what it orders. Times are seconds of a monotonic clock."""

from dataclasses import dataclass
from typing import TypeAlias

from gpuwarden.controller.power.foreign_kept import LimitForeign
from gpuwarden.controller.power.learnt_kept import LimitLearnt
from gpuwarden.controller.power.limit_heat import LimitHeat
from gpuwarden.core.machine import Say
from gpuwarden.proto.control_pb2 import WatchResponse
from gpuwarden.proto.lease_pb2 import Mode


@dataclass(frozen=True, slots=True)
class Tick:
    """Ten times a second."""

    unix_ns: int


@dataclass(frozen=True, slots=True)
class SessionOpened:
    """An agent said hello. `session` is unique for the life of this controller."""

    session: int
    node: str
    agent_version: str


@dataclass(frozen=True, slots=True)
class SessionClosed:
    session: int
    reason: str


@dataclass(frozen=True, slots=True)
class ReportArrived:
    """A serialised `Sealed` power report, as the agent relayed it."""

    session: int
    sealed: bytes


@dataclass(frozen=True, slots=True)
class FindingArrived:
    """A serialised `Finding` from the findings topic."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class SetBudget:
    """An operator's request; answered by one Reply with the same token."""

    token: int
    actor: str
    request_id: str
    domain: str
    budget_w: float
    validate_only: bool


@dataclass(frozen=True, slots=True)
class SetMode:
    """An operator's request; answered by one Reply with the same token."""

    token: int
    actor: str
    request_id: str
    domain: str
    mode: "Mode.ValueType"
    force: bool
    validate_only: bool


@dataclass(frozen=True, slots=True)
class SetJobFloor:
    """A policy leaves these nodes `floor_w` a GPU for `duration_s`. Answered by one Reply with the same token, as the next is."""

    token: int
    actor: str
    request_id: str
    job: str
    nodes: tuple[str, ...]
    floor_w: float
    duration_s: float
    validate_only: bool


@dataclass(frozen=True, slots=True)
class EndJobFloor:
    """Before its time."""

    token: int
    actor: str
    request_id: str
    job: str


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """Somebody takes an alert on: it is not escalated. Answered by one Reply with the same token, as the two below are."""

    token: int
    actor: str
    request_id: str
    key: str


@dataclass(frozen=True, slots=True)
class OpenMaintenance:
    """Alerts of these nodes, or of the whole domain, are told to nobody for `duration_s`."""

    token: int
    actor: str
    request_id: str
    nodes: tuple[str, ...]
    domain: str
    duration_s: float
    reason: str
    validate_only: bool


@dataclass(frozen=True, slots=True)
class EndMaintenance:
    """Before its time."""

    token: int
    actor: str
    request_id: str
    id: str


@dataclass(frozen=True, slots=True)
class MeterRead:
    """A limit's meter was read: so much, `age_s` ago at most."""

    domain: str
    limit: str
    power_w: float
    age_s: float


@dataclass(frozen=True, slots=True)
class MeterFailed:
    """It cannot be read now."""

    domain: str
    limit: str
    reason: str


@dataclass(frozen=True, slots=True)
class ReportMeter:
    """Somebody has read a meter of kind grpc. Answered by one Reply with the same token."""

    token: int
    actor: str
    request_id: str
    domain: str
    limit: str
    power_w: float
    age_s: float


@dataclass(frozen=True, slots=True)
class OutOfBandDone:
    """What came of an order to a node's BMC."""

    node: str
    kind: str
    ok: bool
    said: str


@dataclass(frozen=True, slots=True)
class ToldOfIsolation:
    """What the isolating machine wants a person to know; the same key is one alert for its whole life. `node` is empty for what is about none."""

    key: str
    firing: bool
    severity: str
    title: str
    text: str
    node: str


MeterEvent: TypeAlias = MeterRead | MeterFailed | ReportMeter
Event: TypeAlias = (
    Tick | SessionOpened | SessionClosed | ReportArrived | FindingArrived | SetBudget | SetMode | SetJobFloor | EndJobFloor
    | Acknowledge | OpenMaintenance | EndMaintenance | MeterRead | MeterFailed | ReportMeter | OutOfBandDone
    | ToldOfIsolation
)


@dataclass(frozen=True, slots=True)
class WriteLedger:
    """Ledger lines (serialised `Action`s without id and time), durable, in one transaction, before the actions that follow."""

    payloads: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class RememberEpoch:
    """Durable before any grant of this epoch leaves."""

    epoch: int


@dataclass(frozen=True, slots=True)
class RememberDomain:
    """Budget and mode as an operator last set them; a restart begins with them."""

    domain: str
    budget_w: float
    mode: "Mode.ValueType"


@dataclass(frozen=True, slots=True)
class RememberHeat:
    """Durable before the grants that follow it leave: a successor begins with it."""

    heats: tuple[LimitHeat, ...]


@dataclass(frozen=True, slots=True)
class RememberForeign:
    """Durable before the grants that follow it leave: a successor counts it until the meters tell less."""

    foreign: tuple[LimitForeign, ...]


@dataclass(frozen=True, slots=True)
class RememberLearnt:
    """What a policy has learnt of its limits; nothing rests on it."""

    learnt: tuple[LimitLearnt, ...]


@dataclass(frozen=True, slots=True)
class RememberMaintenance:
    """A window (a serialised `Maintenance`) that a restart still knows; None: it is over."""

    id: str
    payload: bytes | None


@dataclass(frozen=True, slots=True)
class RememberJobFloor:
    """A job's floor (a serialised `JobFloor`) that a restart still knows; None: it is over."""

    job: str
    payload: bytes | None


@dataclass(frozen=True, slots=True)
class SendGrant:
    """A serialised `Sealed` grant for the agent of this session."""

    session: int
    sealed: bytes


@dataclass(frozen=True, slots=True)
class Refuse:
    """Why a request failed, in the words of google.rpc: `code` is a gRPC status name, `field` the request's field."""

    code: str
    reason: str
    field: str
    message: str


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a request: a serialised response message, or a refusal."""

    token: int
    response: bytes | Refuse


@dataclass(frozen=True, slots=True)
class Notify:
    """Tell people: one alert, firing or resolved. The same `key` is one alert for its whole life.

    `kind` and `domain` are those of the key. `unix_ns` is when it began or ended, `told_unix_ns` when this word of it was first said. It goes to receivers of this `level` and below: 1 at first, 2 once nobody acknowledged it.
    """

    key: str
    firing: bool
    severity: str
    title: str
    text: str
    subject: str
    unix_ns: int
    level: int = 1
    told_unix_ns: int = 0
    kind: str = ""
    domain: str = ""


@dataclass(frozen=True, slots=True)
class Beat:
    """Tell the heartbeat's receiver that decisions go on; its silence tells that they do not."""

    unix_ns: int


@dataclass(frozen=True, slots=True)
class OutOfBand:
    """An order to a node's BMC, answered by one OutOfBandDone: limit (the whole node, in W), lift (that limit) or off."""

    node: str
    kind: str
    limit_w: float


@dataclass(frozen=True, slots=True)
class Publish:
    """The cluster as it now is, for the API, the page and the terminal."""

    snapshot: WatchResponse


Action: TypeAlias = (
    WriteLedger | RememberEpoch | RememberDomain | RememberHeat | RememberForeign | RememberLearnt | RememberMaintenance | RememberJobFloor
    | SendGrant | Reply | Notify | Beat | Publish | OutOfBand | Say
)
