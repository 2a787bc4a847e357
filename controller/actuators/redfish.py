"""The actuator redfish: sets and lifts a node's power limit through its BMC, or switches it off (DMTF DSP0266, schemas of DSP0268).

A limit is EnvironmentMetrics.PowerLimitWatts, or in the schema before Power.PowerControl[0].PowerLimit. Each order has a deadline and changes one thing
once: a change is sent one time, then read back, and what is not as ordered has failed.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from gpuwarden.controller.events import OutOfBand, OutOfBandDone
from gpuwarden.controller.out_of_band_config import OutOfBandConfig
from gpuwarden.core.calls import trust
from gpuwarden.core.config import ConfigError
from gpuwarden.core.private import read_private
from gpuwarden.core.redfish import Json, Redfish, RedfishFailed, linked, number, target

ROOT: Final = "/redfish/v1/"
CALL_S: Final = 5.0
ORDER_S: Final = 20.0
LOOK_S: Final = 0.5
READ_BACK_S: Final = 3.0  # a BMC may say that it has accepted a change, and make it then
WORKERS: Final = 8
MOST_WAITING: Final = 256
MOST_CHASSIS: Final = 16
MOST_SAID_CHARS: Final = 300

Done = Callable[[OutOfBandDone], bool]


@dataclass(frozen=True, slots=True)
class Service:
    """One BMC, for one order that must be done by `until_s` of the monotonic clock."""

    redfish: Redfish
    until_s: float

    def get(self, path: str) -> Json:
        return self.redfish.get(path, self.until_s)

    def members(self, name: str) -> list[str]:
        """Of a collection that the root leads to; the first MOST_CHASSIS."""
        collection = linked(self.get(ROOT), name)
        listed = self.get(collection).get("Members") if collection else None
        return [path for path in map(target, listed if isinstance(listed, list) else ()) if path][:MOST_CHASSIS]


class BmcOrders:
    """Orders are carried out by a few threads, so that BMCs that hang hold up no others. ConfigError if a file cannot be used."""

    def __init__(self, config: OutOfBandConfig, done: Done) -> None:
        self._config, self._done = config, done
        self._password = read_private(config.password_file)
        try:
            self._tls = trust(config.ca_file, config.verify)
        except OSError as why:
            raise ConfigError(f"out_of_band.ca_file: {config.ca_file}: {why.strerror or 'holds no certificate'}") from None
        self._waiting: queue.Queue[OutOfBand | None] = queue.Queue(MOST_WAITING)
        for _ in range(WORKERS):
            threading.Thread(target=self._work, name="bmc-order", daemon=True).start()

    def order(self, order: OutOfBand) -> None:
        """Answered by one OutOfBandDone."""
        try:
            self._waiting.put_nowait(order)
        except queue.Full:
            self._done(OutOfBandDone(order.node, order.kind, False, f"{MOST_WAITING} orders are waiting already"))

    def close(self) -> None:
        """Orders under way are left to end by themselves: half of one is worse than all of it."""
        for _ in range(WORKERS):
            try:
                self._waiting.put_nowait(None)
            except queue.Full:
                break

    def _work(self) -> None:
        while (order := self._waiting.get()) is not None:
            redfish = Redfish(self._config.of(order.node), self._config.user, self._password, self._tls, CALL_S)
            try:
                ok, said = True, carry_out(order, Service(redfish, time.monotonic() + ORDER_S))
            except RedfishFailed as why:
                ok, said = False, str(why)
            finally:
                redfish.close()
            self._done(OutOfBandDone(order.node, order.kind, ok, said[:MOST_SAID_CHARS]))


def carry_out(order: OutOfBand, service: Service) -> str:
    """What was done; RedfishFailed with what was not."""
    if order.kind == "off":
        return power_off(service)
    return set_limit(service, order.limit_w if order.kind == "limit" else None)


def set_limit(service: Service, limit_w: float | None) -> str:
    """None: no limit any more."""
    place = next(_places(service), None)
    if place is None:
        raise RedfishFailed("no chassis has a power limit, neither as PowerLimitWatts nor as PowerControl")
    before = service.get(place.path)
    etag = before.get("@odata.etag")
    wish = place.wish(limit_w if limit_w is None else max(limit_w, place.least_w(before)))
    service.redfish.change("PATCH", place.path, wish, service.until_s, etag if isinstance(etag, str) else "")
    now_w, late_s = place.limit_w(service.get(place.path)), time.monotonic() + READ_BACK_S
    while not _as_ordered(limit_w, now_w):
        if time.monotonic() >= late_s:
            raise RedfishFailed(f"{place.path}: {_told(limit_w)} was ordered, and {_told(now_w)} is read back")
        time.sleep(LOOK_S)
        now_w = place.limit_w(service.get(place.path))
    return f"{place.path}: {_told(place.limit_w(before))} before, {_told(now_w)} now"


def _as_ordered(limit_w: float | None, now_w: float | None) -> bool:
    return now_w is None if limit_w is None else now_w is not None and now_w <= limit_w


@dataclass(frozen=True, slots=True)
class Place:
    """Where a chassis has its limit: in the present schema or in the one before."""

    path: str
    present: bool

    def limit_w(self, document: Json) -> float | None:
        """None: there is none in force."""
        if not self.present:
            control = _first(document.get("PowerControl"))
            return number(self.path, control, "PowerLimit", "LimitInWatts").value
        limit = document.get("PowerLimitWatts")
        off = not isinstance(limit, Mapping) or limit.get("ControlMode") == "Disabled"
        return None if off else number(self.path, document, "PowerLimitWatts", "SetPoint").value

    def least_w(self, document: Json) -> float:
        """That it takes; 0 where it does not say."""
        return number(self.path, document, "PowerLimitWatts", "AllowableMin").value or 0.0

    def wish(self, limit_w: float | None) -> Json:
        if not self.present:
            return {"PowerControl": [{"PowerLimit": {"LimitInWatts": limit_w}}]}
        return {"PowerLimitWatts": {"ControlMode": "Disabled"} if limit_w is None else {"SetPoint": limit_w, "ControlMode": "Automatic"}}


def _places(service: Service) -> Iterator[Place]:
    for chassis in service.members("Chassis"):
        document = service.get(chassis)
        if (path := linked(document, "EnvironmentMetrics")) and isinstance(service.get(path).get("PowerLimitWatts"), Mapping):
            yield Place(path, present=True)
        elif (path := linked(document, "Power")) and "PowerLimit" in _first(service.get(path).get("PowerControl")):
            yield Place(path, present=False)


def _first(controls: Any) -> Json:
    """The first PowerControl is the chassis, others are parts of it."""
    first = controls[0] if isinstance(controls, list) and controls else None
    return first if isinstance(first, Mapping) else {}


def _told(limit_w: float | None) -> str:
    return "no limit" if limit_w is None else f"{limit_w:,.0f} W"


def power_off(service: Service) -> str:
    """ForceOff, at once. A BMC of several systems is refused: it might be another's."""
    systems = service.members("Systems")
    if len(systems) != 1:
        raise RedfishFailed(f"Systems: are {len(systems)}, should be 1: which of them is the node?")
    (path,) = systems
    reset = service.get(path).get("Actions")
    action = reset.get("#ComputerSystem.Reset") if isinstance(reset, Mapping) else None
    to = action.get("target") if isinstance(action, Mapping) else None
    if not isinstance(to, str):
        raise RedfishFailed(f"{path}: has no action ComputerSystem.Reset")
    service.redfish.change("POST", to, {"ResetType": "ForceOff"}, service.until_s)
    while service.get(path).get("PowerState") != "Off":
        time.sleep(LOOK_S)
    return f"{path}: is off"
