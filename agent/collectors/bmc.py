"""The node's own BMC over Redfish: supplies, fans, the air it takes in, and what the whole chassis draws.

A BMC is slow, and busy with other things: it is asked in a thread of its own, at most every PERIOD_S and at most half of the time.
A pass gets the newest answer and waits for none; `host_bmc_age_seconds` tells how old it is.
"""

import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gpuwarden.agent.chassis import Chassis, Get
from gpuwarden.agent.chassis_sources import (
    FANS,
    INTAKE,
    LIMIT,
    POWER,
    SUPPLIES,
    Source,
    ask,
    choose,
    find_chassis,
)
from gpuwarden.agent.config import AgentConfig, BmcConfig
from gpuwarden.agent.reading import DeviceReading, Reading, Unsupported
from gpuwarden.core.calls import trust
from gpuwarden.core.config import ConfigError
from gpuwarden.core.private import read_private
from gpuwarden.core.redfish import Found, LoginRefused, Redfish, RedfishFailed
from gpuwarden.proto.catalogue import BMC, Device

Values = dict[str, float]

_CLOSE_S: Final = 0.3

_METRICS: Final = {
    SUPPLIES: f"{BMC}supply_input_watts",
    FANS: f"{BMC}fan_min_rpm",
    INTAKE: f"{BMC}inlet_celsius",
    POWER: f"{BMC}power_watts",
    LIMIT: f"{BMC}power_limit_watts",
}


@dataclass(frozen=True, slots=True)
class Pace:
    """How long the BMC may take, and how often it is asked."""

    period_s: float = 5.0  # from the beginning of one reading to the next
    call_s: float = 10.0
    reading_s: float = 20.0  # all calls of one
    probe_s: float = 120.0  # all calls of the first one, which looks for what there is
    probe_again_s: float = 600.0  # a supply may have been put in
    locked_s: float = 300.0  # after a refused login: a BMC locks an account that keeps trying
    open_s: float = 3.0  # that the agent's start waits for the first reading


@dataclass(frozen=True, slots=True)
class Told:
    """One reading of the BMC, begun at `began_s`."""

    began_s: float
    values: Values
    lacks: tuple[str, ...]


class _Asking(threading.Thread):
    """One reading under way. A daemon thread: a BMC that is switched off must not hold up the agent's end."""

    def __init__(self, read: Callable[[], Told]) -> None:
        super().__init__(name="bmc", daemon=True)
        self._read, self.began_s = read, time.monotonic()
        self.answer: Told | RedfishFailed = RedfishFailed("the reading broke off, which it never should: stderr says why")
        self.start()

    def run(self) -> None:
        try:
            self.answer = self._read()
        except RedfishFailed as why:
            self.answer = why


class Bmc:
    """Fails while the BMC does, with the reason; what it told before is not shown as if it were so now."""

    name = "bmc"

    def __init__(self, node: str, redfish: Redfish, pace: Pace) -> None:
        self._node, self._redfish, self._pace = node, redfish, pace
        self._chassis: tuple[Chassis, dict[str, Source]] | None = None
        self._found_s = self._due_s = 0.0
        self._newest: Told | RedfishFailed = RedfishFailed("the BMC is slow: its first reading is still under way")
        self._asking: _Asking | None = _Asking(self._read)
        self._asking.join(pace.open_s)

    def collect(self) -> Reading:
        """The newest reading. Raises RedfishFailed with the reason where that failed."""
        now_s = time.monotonic()
        if self._asking is not None and not self._asking.is_alive():
            self._newest = self._asking.answer
            self._due_s = self._asking.began_s + self._pause_s(now_s - self._asking.began_s)
            self._asking = None
        if self._asking is None and now_s >= self._due_s:
            self._asking = _Asking(self._read)
        if isinstance(self._newest, RedfishFailed):
            raise self._newest.with_traceback(None)  # raised anew at each pass, it would collect them
        values = {**self._newest.values, "host_bmc_age_seconds": now_s - self._newest.began_s}
        return Reading((DeviceReading(Device.HOST, self._node, 0, values),), lacks=self._newest.lacks)

    def close(self) -> None:
        self._redfish.stop()
        if self._asking is not None:
            self._asking.join(_CLOSE_S)
        if self._asking is None or not self._asking.is_alive():
            self._redfish.close()

    def _pause_s(self, took_s: float) -> float:
        return self._pace.locked_s if isinstance(self._newest, LoginRefused) else max(self._pace.period_s, 2 * took_s)

    def _read(self) -> Told:
        """In the thread."""
        began_s = time.monotonic()
        known, self._chassis = self._chassis, None  # after a failure all is looked for anew: it may have been a reboot
        if known is None or began_s > self._found_s + self._pace.probe_again_s:
            chassis = find_chassis(self._get(began_s + self._pace.probe_s))
            known, self._found_s = (chassis, choose(chassis)), began_s
        else:
            known[0].begin(self._get(began_s + self._pace.reading_s))
        values, lacks = _read(*known)
        self._chassis = known
        return Told(began_s, values, lacks)

    def _get(self, until_s: float) -> Get:
        return lambda path: self._redfish.get(path, until_s)


def _read(chassis: Chassis, sources: Mapping[str, Source]) -> tuple[Values, tuple[str, ...]]:
    values: Values = {}
    lacks: list[str] = []
    state = chassis.fresh(chassis.path).get("PowerState")
    if isinstance(state, str):
        values["host_bmc_power_on"] = float(state == "On")
    else:
        lacks.append(f"host_bmc_power_on: {chassis.path}: PowerState is no text or absent")
    for quantity, name in _METRICS.items():
        found = ask(sources[quantity], chassis) if quantity in sources else (Found(None, "this BMC has no such resource"),)
        values |= _metrics(quantity, found)
        lacks += [f"{name}: {one.why}" for one in found if one.value is None]
    return values, tuple(lacks)


def _metrics(quantity: str, found: tuple[Found, ...]) -> Values:
    known = [one.value for one in found if one.value is not None]
    if not known:
        return {}
    name = _METRICS[quantity]
    if quantity != SUPPLIES:
        return {name: min(known) if quantity == FANS else max(known)}
    total = {name: sum(known)} if len(known) == len(found) else {}  # a part of the sum would pass for the whole
    return {**total, f"{BMC}supply_input_min_watts": min(known), f"{BMC}supplies": float(len(known))}


def open(config: AgentConfig) -> Bmc:
    """Raises Unsupported where no BMC is configured, or what the configuration names cannot be used."""
    if config.bmc is None:
        raise Unsupported("not configured: there is no table bmc")
    return connect(config.node, config.bmc, Pace())


def connect(node: str, bmc: BmcConfig, pace: Pace) -> Bmc:
    """Waits `pace.open_s` for the first reading, so that a look at the node shows it."""
    redfish = Redfish(bmc.url, bmc.user, _password(bmc.password_file), _tls(bmc), pace.call_s)
    return Bmc(node, redfish, pace)


def _password(path: Path) -> str:
    try:
        password = read_private(path)
    except ConfigError as why:
        raise Unsupported(f"bmc.password_file: {why}") from None
    if not password:
        raise Unsupported(f"bmc.password_file: {path} is empty")
    return password


def _tls(bmc: BmcConfig) -> ssl.SSLContext:
    try:
        return trust(bmc.ca_file, bmc.verify)
    except OSError as why:  # SSLError is one
        raise Unsupported(f"bmc.ca_file: {bmc.ca_file}: {why.strerror or 'holds no certificate'}") from None
