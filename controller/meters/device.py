"""What all kinds of meters have in common: a device with one or more readings on it."""

import ssl
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from gpuwarden.controller.power.meter_config import MeterConfig
from gpuwarden.core.calls import trust
from gpuwarden.core.config import ConfigError

CALL_S = 5.0


@dataclass(frozen=True, slots=True)
class Told:
    """`told_s` is of the monotonic clock: the reading tells of no later moment."""

    power_w: float
    told_s: float


@dataclass(frozen=True, slots=True)
class Lacks:
    """No reading, and why. `locked`: user or password was refused, and who asks again soon gets the account locked."""

    why: str
    locked: bool = False


class Device(Protocol):
    """One thread at a time may read; `stop` may be called from any."""

    def read(self, meters: Iterable[MeterConfig], until_s: float) -> Iterator[Told | Lacks]:
        """One for each, by `until_s` of the monotonic clock."""

    def stop(self) -> None:
        """A reading under way fails, and every later one."""

    def close(self) -> None:
        """When no reading is under way."""


def trusted(meter: MeterConfig) -> ssl.SSLContext:
    """ConfigError if `ca_file` cannot be used."""
    try:
        return trust(meter.ca_file, meter.verify)
    except OSError as why:  # SSLError is one
        raise ConfigError(f"ca_file: {meter.ca_file}: {why.strerror or 'holds no certificate'}") from None
