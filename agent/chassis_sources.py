"""Where a BMC tells what, in the DMTF's present schema (2020.4) and in the one before it.

Present: PowerSubsystem, ThermalSubsystem, EnvironmentMetrics, Sensors. Before: Power, Thermal (DSP0268 names both, member by member).
A BMC may serve either, or both with one of them half empty: each quantity is taken from the first source that has it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Final

from gpuwarden.agent.chassis import Chassis, Get, members, present
from gpuwarden.core.redfish import Found, Json, NotTold, RedfishFailed, linked, number

_ROOT: Final = "/redfish/v1/"
_SUPPLIED: Final = 3
MAX_SENSORS: Final = 128  # each is a call, and a BMC may take half a second for one
_TELLING: Final = ("PowerSubsystem", "ThermalSubsystem", "Power", "Thermal")

Source = Callable[[Chassis], Iterable[Found]]


def find_chassis(get: Get) -> Chassis:
    """The first chassis whose supplies can be read: it feeds the node. Where there is none, the next best; RedfishFailed without any."""
    collection = linked(get(_ROOT), "Chassis")
    if not collection:
        raise RedfishFailed(f"{_ROOT}: has no Chassis")
    reasons, best, best_rank = [], None, 0
    for path in members(get, collection).paths:
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


def ask(source: Source, chassis: Chassis) -> tuple[Found, ...]:
    """What it finds; what the BMC refuses is a reason, not an end."""
    try:
        return tuple(source(chassis))
    except NotTold as why:
        return (Found(None, str(why)),)


def supply_metrics(chassis: Chassis) -> Iterator[Found]:
    for path in chassis.members("PowerSubsystem", "PowerSupplies").paths:
        yield from ask(partial(_supply, path), chassis)


def _supply(path: str, chassis: Chassis) -> Iterator[Found]:
    if present(chassis.fixed(path)):
        metrics = linked(chassis.fixed(path), "Metrics")
        yield chassis.reading(metrics, "InputPowerWatts", "Reading") if metrics else Found(None, f"{path}: has no Metrics")


def power_supplies(chassis: Chassis) -> Iterator[Found]:
    for where, supply in chassis.entries("Power", "PowerSupplies"):
        yield number(where, supply, "PowerInputWatts")


def thermal_subsystem_fans(chassis: Chassis) -> Iterator[Found]:
    for path in chassis.members("ThermalSubsystem", "Fans").paths:
        yield from ask(partial(_fan, path), chassis)


def _fan(path: str, chassis: Chassis) -> Iterator[Found]:
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
    listed = chassis.members("Sensors", most=MAX_SENSORS)
    found = [one for path in listed.paths for one in ask(partial(_intake_sensor, path), chassis)]
    yield from found
    if not found and not listed.whole:
        yield Found(None, f"{chassis.link('Sensors')}: none of its first {len(listed.paths)} sensors is of the air taken in, and no more are looked at")


def _intake_sensor(path: str, chassis: Chassis) -> Iterator[Found]:
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


SUPPLIES, FANS, INTAKE, POWER, LIMIT = "supplies", "fans", "intake", "power", "limit"
SOURCES: Final[Mapping[str, tuple[Source, ...]]] = {
    SUPPLIES: (supply_metrics, power_supplies),
    FANS: (thermal_subsystem_fans, thermal_fans),
    INTAKE: (thermal_metrics_intake, thermal_intake, intake_sensors),
    POWER: (environment_power, power_control),
    LIMIT: (environment_limit, power_control_limit),
}


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
