"""A PDU, switchgear or BMC that is asked over Redfish: the power of one resource, in any of the ways in which the DMTF's schema tells it (DSP0268).

- Sensor: Reading, in W or kW.
- Circuit, Outlet, PowerDistributionMetrics, EnvironmentMetrics: PowerWatts.Reading.
- PowerDistribution: as its Metrics tells. Chassis: as its EnvironmentMetrics tells, or its Power.
- Power, the schema before: PowerConsumedWatts of the first PowerControl, which is the whole chassis.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from gpuwarden.controller.meters.device import CALL_S, Device, Lacks, Told, trusted
from gpuwarden.controller.power.meter_config import MeterConfig
from gpuwarden.core.config import ConfigError
from gpuwarden.core.private import read_private
from gpuwarden.core.redfish import Found, Json, LoginRefused, NotTold, Redfish, RedfishFailed, linked, number

HIGHEST_W: Final = 1e9
_UNITS: Final = {"W": 1.0, "kW": 1e3}  # UCUM, as Sensor.ReadingUnits has it
_LEADS_TO: Final = ("Metrics", "EnvironmentMetrics", "Power")

Get = Callable[[str], Json]


def open(meter: MeterConfig) -> Device:
    """ConfigError if a file cannot be used."""
    assert meter.password_file is not None, "checked with the configuration"
    password = read_private(meter.password_file)
    if not password:
        raise ConfigError(f"password_file: {meter.password_file} is empty")
    return RedfishMeters(Redfish(meter.url, meter.user, password, trusted(meter), CALL_S))


class RedfishMeters:
    """One service."""

    def __init__(self, redfish: Redfish) -> None:
        self._redfish = redfish

    def read(self, meters: Iterable[MeterConfig], until_s: float) -> Iterator[Told | Lacks]:
        failed: Lacks | None = None
        for meter in meters:
            told = failed or self._read(meter, until_s)
            if isinstance(told, Lacks) and told.locked:
                failed = told
            yield told

    def _read(self, meter: MeterConfig, until_s: float) -> Told | Lacks:
        try:
            found = power(lambda path: self._redfish.get(path, until_s), meter.resource)
        except LoginRefused as why:
            return Lacks(str(why), locked=True)
        except RedfishFailed as why:
            return Lacks(str(why))
        return Lacks(found.why) if found.value is None else Told(found.value, time.monotonic())

    def stop(self) -> None:
        self._redfish.stop()

    def close(self) -> None:
        self._redfish.close()


def power(get: Get, path: str) -> Found:
    """W of a resource, or of the first that it leads to and that tells; RedfishFailed if the service does not answer."""
    document = get(path)
    found = _own(path, document)
    if found.value is not None:
        return found
    for name in _LEADS_TO:
        if (there := linked(document, name)) and there != path:
            try:
                found = _own(there, get(there))
            except NotTold as why:
                found = Found(None, str(why))
            if found.value is not None:
                break
    return found


def _own(path: str, document: Json) -> Found:
    """What the resource itself tells."""
    if "ReadingUnits" in document:
        units = document["ReadingUnits"]
        if not isinstance(units, str) or units not in _UNITS:
            return Found(None, f"{path}: reads in {str(units)[:40]!r}, not in W or kW")
        found = number(path, document, "Reading", highest=HIGHEST_W)
        return found if found.value is None else Found(found.value * _UNITS[units])
    if "PowerWatts" in document:
        return number(path, document, "PowerWatts", "Reading", highest=HIGHEST_W)
    controls = document.get("PowerControl")
    if isinstance(controls, list) and controls and isinstance(controls[0], dict):
        return number(f"{path}#/PowerControl/0", controls[0], "PowerConsumedWatts", highest=HIGHEST_W)
    return Found(None, f"{path}: tells no power, neither as Reading nor as PowerWatts nor as PowerControl")
