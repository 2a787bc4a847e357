"""What the agent's machine is told, and what it orders. Times are seconds of a monotonic clock."""

from dataclasses import dataclass
from typing import TypeAlias

from gpuwarden.agent.probed import Result
from gpuwarden.agent.reading import Reading
from gpuwarden.core.machine import Say


@dataclass(frozen=True, slots=True)
class Tick:
    """Once every `period_s`: time to collect. `unix_ns` stamps the telemetry of this pass."""

    unix_ns: int


@dataclass(frozen=True, slots=True)
class Collected:
    """One collector's pass, `duration_s` long."""

    collector: str
    reading: Reading
    duration_s: float


@dataclass(frozen=True, slots=True)
class CollectFailed:
    """One collector could not read this time."""

    collector: str
    reason: str
    duration_s: float


@dataclass(frozen=True, slots=True)
class FromLimiter:
    """A sealed report came over the Unix socket."""

    sealed: bytes


@dataclass(frozen=True, slots=True)
class FromController:
    """A sealed grant came over the session."""

    sealed: bytes


@dataclass(frozen=True, slots=True)
class LimiterLink:
    """The Unix socket came up or went down."""

    up: bool


@dataclass(frozen=True, slots=True)
class ControllerLink:
    """The gRPC session came up, in this version of it, or went down."""

    up: bool
    reason: str = ""
    version: int = 1


@dataclass(frozen=True, slots=True)
class ProbeAsked:
    """The controller names a test. The same id twice has one effect."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class ProbeEnded:
    """What came of a RunProbe."""

    id: str
    result: Result


Event: TypeAlias = Tick | Collected | CollectFailed | FromLimiter | FromController | LimiterLink | ControllerLink | ProbeAsked | ProbeEnded


@dataclass(frozen=True, slots=True)
class Collect:
    """Run these collectors, in this order; each answers with Collected or CollectFailed."""

    collectors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SendTelemetry:
    """A serialised `Telemetry`, for the bus. `events`: whether it tells of device events, which are not told again."""

    payload: bytes
    sequence: int
    events: bool


@dataclass(frozen=True, slots=True)
class SendComm:
    """A serialised `CommSummary`, for the bus."""

    payload: bytes
    sequence: int


@dataclass(frozen=True, slots=True)
class ToLimiter:
    """Relay a sealed grant to the limiter, unchanged."""

    sealed: bytes


@dataclass(frozen=True, slots=True)
class ToController:
    """Relay a sealed report to the controller, unchanged."""

    sealed: bytes


@dataclass(frozen=True, slots=True)
class RunProbe:
    """Run the test of this name; answered by one ProbeEnded."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class StopProbe:
    """End the test that runs, at once; its ProbeEnded follows."""

    id: str


@dataclass(frozen=True, slots=True)
class AnswerProbe:
    """Tell the controller what came of it."""

    id: str
    name: str
    result: Result


Action: TypeAlias = Collect | SendTelemetry | SendComm | ToLimiter | ToController | RunProbe | StopProbe | AnswerProbe | Say
