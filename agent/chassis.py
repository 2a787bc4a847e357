"""What Redfish tells of a chassis' supplies, fans and air, in the DMTF's present schema (2020.4) and in the one before it.

Present: PowerSubsystem, ThermalSubsystem, EnvironmentMetrics, Sensors. Before: Power, Thermal (DSP0268 names both, member by member).
A BMC may serve either, or both with one of them half empty: each quantity is taken from the first source that has it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from gpuwarden.agent.redfish import Json, NotTold, RedfishFailed

MAX_MEMBERS: Final = 64  # of one collection: no node has more supplies, fans, chassis, or sensors worth asking for
HIGHEST: Final = 1e6  # no supply, fan or thermometer of a node reads more
_ROOT: Final = "/redfish/v1/"
_SUPPLIED: Final = 3
_TELLING: Final = ("PowerSubsystem", "ThermalSubsystem", "Power", "Thermal")

Get = Callable[[str], Json]


@dataclass(frozen=True, slots=True)
class Found:
    """A reading of one supply, fan or sensor, or why it has none."""

    value: float | None
    why: str = ""


class Chassis:
    """One chassis' resources. What changes by a person's hand only is kept; readings are fetched once a pass, `begin` to `begin`."""

    def __init__(self, get: Get, path: str) -> None:
        self.path = path
        self._get = get
        self._kept: dict[str, Json] = {}
        self._fresh: dict[str, Json] = {}

    def begin(self, get: Get) -> None:
        """A new pass."""
        self._get = get
        self._fresh.clear()

    def fixed(self, path: str) -> Json:
        if path not in self._kept:
            self._kept[path] = self.fresh(path)
        return self._kept[path]

    def fresh(self, path: str) -> Json:
        if path not in self._fresh:
            self._fresh[path] = self._get(path)
        return self._fresh[path]

    def link(self, *names: str) -> str:
        """Where these links lead, one after the other, from the chassis; '' where one is absent."""
        path = self.path
        for name in names:
            path = _linked(self.fixed(path), name) if path else ""
        return path

    def members(self, *names: str) -> list[str]:
        """Of the collection that the links lead to."""
        return _members(self.fixed(path)) if (path := self.link(*names)) else []

    def entries(self, resource: str, array: str) -> list[tuple[str, Json]]:
        """Elements of an array inside a resource that is there now, each with its place."""
        path = self.link(resource)
        listed = self.fresh(path).get(array) if path else None
        elements = listed[:MAX_MEMBERS] if isinstance(listed, list) else []
        return [(f"{path}#/{array}/{i}", element) for i, element in enumerate(elements) if isinstance(element, Mapping) and present(element)]

    def reading(self, path: str, *keys: str) -> Found:
        try:
            return number(path, self.fresh(path), *keys)
        except NotTold as why:
            return Found(None, str(why))


def number(where: str, document: Json, *keys: str) -> Found:
    """The number that the keys lead to."""
    value: Any = document
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    if value is None:
        return Found(None, f"{where}: {'.'.join(keys)} is null or absent")
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= HIGHEST:
        return Found(None, f"{where}: {'.'.join(keys)} is {str(value)[:40]!r}, no number that it can be")
    return Found(float(value))


def present(document: Json) -> bool:
    """An empty bay has an entry too, whose state is Absent."""
    status = document.get("Status")
    return not (isinstance(status, Mapping) and status.get("State") == "Absent")


def _linked(document: Json, name: str) -> str:
    link = document.get(name)
    to = link.get("@odata.id") if isinstance(link, Mapping) else None
    return to if isinstance(to, str) else ""


def _members(collection: Json) -> list[str]:
    listed = collection.get("Members")
    links = [{"": link} for link in listed[:MAX_MEMBERS]] if isinstance(listed, list) else []
    return [path for link in links if (path := _linked(link, ""))]


def find_chassis(get: Get) -> Chassis:
    """The first chassis whose supplies can be read: it feeds the node. Where there is none, the next best; RedfishFailed without any."""
    collection = _linked(get(_ROOT), "Chassis")
    if not collection:
        raise RedfishFailed(f"{_ROOT}: has no Chassis")
    reasons, best, best_rank = [], None, 0
    for path in _members(get(collection)):
        chassis = Chassis(get, path)
        try:
            rank = _rank(chassis)
        except NotTold as why:
            reasons.append(str(why))
            continue
        if rank > best_rank:
            best, best_rank = chassis, rank
        if rank == _SUPPLIED:
            break
    if best is None:
        raise RedfishFailed("; ".join((f"{collection}: no chassis there tells of power or air", *reasons)))
    return best


def _rank(chassis: Chassis) -> int:
    """3: its supplies can be read. 2: it lists some. 1: it tells of power or air. 0: it does not, as an adapter or a drive bay."""
    if not any(chassis.link(name) for name in _TELLING):
        return 0
    found = [one for source in SOURCES[SUPPLIES] for one in ask(source, chassis)]
    return _SUPPLIED if any(one.value is not None for one in found) else 2 if found else 1


def supply_metrics(chassis: Chassis) -> Iterator[Found]:
    for path in chassis.members("PowerSubsystem", "PowerSupplies"):
        if present(chassis.fixed(path)):
            metrics = _linked(chassis.fixed(path), "Metrics")
            yield chassis.reading(metrics, "InputPowerWatts", "Reading") if metrics else Found(None, f"{path}: has no Metrics")


def power_supplies(chassis: Chassis) -> Iterator[Found]:
    for where, supply in chassis.entries("Power", "PowerSupplies"):
        yield number(where, supply, "PowerInputWatts")


def thermal_subsystem_fans(chassis: Chassis) -> Iterator[Found]:
    for path in chassis.members("ThermalSubsystem", "Fans"):
        if present(chassis.fixed(path)):
            yield chassis.reading(path, "SpeedPercent", "SpeedRPM")


def thermal_fans(chassis: Chassis) -> Iterator[Found]:
    for where, fan in chassis.entries("Thermal", "Fans"):
        units = fan.get("ReadingUnits")
        yield number(where, fan, "Reading") if units == "RPM" else Found(None, f"{where}: reads in {str(units)[:40]!r}, not in RPM")


def thermal_metrics_intake(chassis: Chassis) -> Iterator[Found]:
    if path := chassis.link("ThermalSubsystem", "ThermalMetrics"):
        yield chassis.reading(path, "TemperatureSummaryCelsius", "Intake", "Reading")


def thermal_intake(chassis: Chassis) -> Iterator[Found]:
    for where, sensor in chassis.entries("Thermal", "Temperatures"):
        if sensor.get("PhysicalContext") == "Intake":
            yield number(where, sensor, "ReadingCelsius")


def intake_sensors(chassis: Chassis) -> Iterator[Found]:
    for path in chassis.members("Sensors"):
        sensor = chassis.fixed(path)
        if sensor.get("PhysicalContext") == "Intake" and sensor.get("ReadingType") == "Temperature":
            yield chassis.reading(path, "Reading")


def environment_power(chassis: Chassis) -> Iterator[Found]:
    if path := chassis.link("EnvironmentMetrics"):
        yield chassis.reading(path, "PowerWatts", "Reading")


def environment_limit(chassis: Chassis) -> Iterator[Found]:
    if path := chassis.link("EnvironmentMetrics"):
        limit = chassis.fresh(path).get("PowerLimitWatts")
        if isinstance(limit, Mapping) and limit.get("ControlMode") == "Disabled":
            yield Found(None, f"{path}: PowerLimitWatts is disabled")
        else:
            yield chassis.reading(path, "PowerLimitWatts", "SetPoint")


def power_control(chassis: Chassis) -> Iterator[Found]:
    for where, control in _whole(chassis):
        yield number(where, control, "PowerConsumedWatts")


def power_control_limit(chassis: Chassis) -> Iterator[Found]:
    for where, control in _whole(chassis):
        yield number(where, control, "PowerLimit", "LimitInWatts")


def _whole(chassis: Chassis) -> list[tuple[str, Json]]:
    """The first PowerControl is the chassis, others are parts of it."""
    return chassis.entries("Power", "PowerControl")[:1]


Source = Callable[[Chassis], Iterable[Found]]

SUPPLIES, FANS, INTAKE, POWER, LIMIT = "supplies", "fans", "intake", "power", "limit"
SOURCES: Final[Mapping[str, tuple[Source, ...]]] = {
    SUPPLIES: (supply_metrics, power_supplies),
    FANS: (thermal_subsystem_fans, thermal_fans),
    INTAKE: (thermal_metrics_intake, thermal_intake, intake_sensors),
    POWER: (environment_power, power_control),
    LIMIT: (environment_limit, power_control_limit),
}


def ask(source: Source, chassis: Chassis) -> tuple[Found, ...]:
    try:
        return tuple(source(chassis))
    except NotTold as why:
        return (Found(None, str(why)),)


def choose(chassis: Chassis) -> dict[str, Source]:
    """For each quantity the source that reads; where none does now, one that would; where there is none, nothing."""
    chosen = {}
    for quantity, sources in SOURCES.items():
        for source in sources:
            found = ask(source, chassis)
            if any(one.value is not None for one in found):
                chosen[quantity] = source
                break
            if found:
                chosen.setdefault(quantity, source)
    return chosen
