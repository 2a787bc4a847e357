"""Asks every device for its meters, each in a thread of its own, and hands the machine what they tell."""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from gpuwarden.controller.events import MeterFailed, MeterRead
from gpuwarden.controller.meters import KINDS
from gpuwarden.controller.meters.device import Device, Lacks, Told
from gpuwarden.controller.power.domain import DomainConfig
from gpuwarden.controller.power.meter_config import MeterConfig
from gpuwarden.core.config import ConfigError

Offer = Callable[[MeterRead | MeterFailed], bool]

LOCKED_S: Final = 300.0  # after a refused login: a device locks an account that keeps trying
MOST_REASON_CHARS: Final = 300
_CLOSE_S: Final = 0.3


@dataclass(frozen=True, slots=True)
class Placed:
    """A meter and the limit that it measures."""

    domain: str
    limit: str
    config: MeterConfig


class Polling:
    """From construction to `close`. ConfigError with a line for every meter whose files cannot be used."""

    def __init__(self, domains: Iterable[DomainConfig], offer: Offer) -> None:
        devices = _opened(placed(domains))
        self._threads = [_Asking(device, meters, offer) for device, meters in devices]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        for thread in self._threads:
            thread.stop()
        for thread in self._threads:
            thread.join(_CLOSE_S)  # they are daemons: a device that is switched off holds up nobody's end


class _Asking(threading.Thread):
    """One device: all its meters, one after another, over one connection."""

    def __init__(self, device: Device, meters: Sequence[Placed], offer: Offer) -> None:
        super().__init__(name="meter", daemon=True)
        self._device, self._meters, self._offer = device, meters, offer
        self._ended = threading.Event()
        self._period_s = min(meter.config.period_s for meter in meters)
        self._round_s = min(meter.config.stale_s for meter in meters) / 2

    def run(self) -> None:
        pause_s = 0.0
        while not self._ended.wait(pause_s):
            began_s = time.monotonic()
            locked = self._round(began_s + self._round_s)
            took_s = time.monotonic() - began_s
            pause_s = LOCKED_S if locked else max(self._period_s - took_s, took_s)  # a slow device is asked at most half of the time
        self._device.close()

    def stop(self) -> None:
        self._ended.set()
        self._device.stop()

    def _round(self, until_s: float) -> bool:
        """Whether the login was refused."""
        locked = False
        told = self._device.read([meter.config for meter in self._meters], until_s)
        for meter, one in zip(self._meters, told, strict=True):
            if self._ended.is_set():
                break
            locked = locked or (isinstance(one, Lacks) and one.locked)
            self._offer(_event(meter, one))  # one that finds no room comes again
        return locked


def placed(domains: Iterable[DomainConfig]) -> list[Placed]:
    """Every meter that is configured."""
    return [
        Placed(domain.name, name, meter)
        for domain in domains
        for name, meter in ((domain.name, domain.meter), *((limit.name, limit.meter) for limit in domain.limits))
        if meter is not None
    ]


def _opened(meters: Iterable[Placed]) -> list[tuple[Device, list[Placed]]]:
    """Each device once."""
    of_device: dict[MeterConfig, list[Placed]] = {}
    for meter in meters:
        alone = replace(meter.config, resource="", series="", scale=1.0, period_s=0.0, window_s=0.0, stale_s=0.0)
        of_device.setdefault(alone, []).append(meter)
    devices, wrong = list[tuple[Device, list[Placed]]](), list[str]()
    for together in of_device.values():
        first = together[0]
        if (open_device := KINDS[first.config.kind]) is None:
            continue
        try:
            devices.append((open_device(first.config), together))
        except ConfigError as why:
            wrong.append(f"domains: {first.domain}: meter of {first.limit}: {why}")
    if wrong:
        raise ConfigError("\n".join(wrong))
    return devices


def _event(meter: Placed, told: Told | Lacks) -> MeterRead | MeterFailed:
    if isinstance(told, Lacks):
        return MeterFailed(meter.domain, meter.limit, told.why[:MOST_REASON_CHARS])
    return MeterRead(meter.domain, meter.limit, meter.config.scale * told.power_w, time.monotonic() - told.told_s)
