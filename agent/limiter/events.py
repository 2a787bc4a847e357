"""What the limiter's machine is told, and what it orders. Times are seconds of the node's CLOCK_BOOTTIME."""

from dataclasses import dataclass
from typing import TypeAlias

from gpuwarden.agent.limiter.card import CardState
from gpuwarden.core.machine import Say
from gpuwarden.proto.lease_pb2 import Mode


@dataclass(frozen=True, slots=True)
class PowerRead:
    """Ten times a second, and the machine's tick. W per card, NaN where a card does not answer."""

    power_w: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class LimitsRead:
    """A readback: after every SetLimits (`ordered` true) and once a second. `driver_loads` grows when the driver was reloaded.

    `refused` is '' or the driver's reason per card, empty where it refused nothing.
    """

    cards: tuple[CardState, ...]
    driver_loads: int
    ordered: bool
    refused: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ClocksLocked:
    """A LockClocks was carried out. `refused` is '' or the driver's reason per card."""

    clocks_hz: tuple[float, ...]
    refused: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DriverHung:
    """A driver call ran past its deadline, or was refused because earlier ones still hang."""

    call: str


@dataclass(frozen=True, slots=True)
class Directive:
    """A serialised `Sealed` grant, as the agent relayed it."""

    sealed: bytes


@dataclass(frozen=True, slots=True)
class RememberFailed:
    """A Remember was not durable, so what stood after it was not done."""

    reason: str


Event: TypeAlias = PowerRead | LimitsRead | ClocksLocked | DriverHung | Directive | RememberFailed


@dataclass(frozen=True, slots=True)
class Remember:
    """Write this durably before the actions that follow: a restarted limiter must still refuse older epochs."""

    epoch: int
    mode: "Mode.ValueType"


@dataclass(frozen=True, slots=True)
class SetLimits:
    """Set these limits, W per card, and read them back."""

    limits_w: tuple[float, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class LockClocks:
    """Let no card's clock pass these, Hz per card; 0 unlocks it."""

    clocks_hz: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class ReadLimits:
    """Read requested and enforced limits."""


@dataclass(frozen=True, slots=True)
class SendReport:
    """A serialised `Sealed` report, for the agent to relay."""

    sealed: bytes


Action: TypeAlias = Remember | SetLimits | LockClocks | ReadLimits | SendReport | Say
