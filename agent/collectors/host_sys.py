"""What /sys tells of a node: sensors, CPU energy, clocks. `sys` is where it is mounted.

Layouts: the kernel's Documentation/hwmon/sysfs-interface.rst, power/powercap/powercap.rst and admin-guide/pm/cpufreq.rst.
"""

import glob
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gpuwarden.agent.sysfs import attribute

Values = dict[str, float]


def sensors(sys: Path) -> Values:
    """Hottest temperature, slowest fan, and the node's power where a supply or a board measures it."""
    chips = _found(f"{sys}/class/hwmon", "hwmon*")
    temperatures = [milli / 1e3 for chip in chips for milli in _numbers(chip, "temp*_input")]
    fans = [rpm for chip in chips for rpm in _numbers(chip, "fan*_input")]
    meters = [chip for chip in chips if attribute(f"{chip}/name") == "power_meter"]  # ACPI's, which sees the whole node
    powers = [micro / 1e6 for chip in meters for micro in _numbers(chip, "power*_average")]
    values = {}
    if temperatures:
        values["host_temperature_max_celsius"] = max(temperatures)
    if fans:
        values["host_fan_min_rpm"] = min(fans)
    if powers:
        values["host_power_watts"] = sum(powers)
    return values


def clocks(sys: Path) -> Values:
    cores = _found(f"{sys}/devices/system/cpu", "cpu[0-9]*/cpufreq")
    hertz = [1e3 * khz for core in cores for khz in _numbers(core, "scaling_cur_freq")]
    governors = [governor for core in cores if (governor := attribute(f"{core}/scaling_governor"))]
    values = {}
    if hertz:
        values["host_cpu_clock_mean_hertz"] = sum(hertz) / len(hertz)
        values["host_cpu_clock_min_hertz"] = min(hertz)
    if governors:
        values["host_cpu_governor_performance_ratio"] = governors.count("performance") / len(governors)
    return values


@dataclass(frozen=True, slots=True)
class _Zone:
    """One RAPL counter: it wraps at `range_uj`."""

    path: str
    range_uj: float


class CpuEnergy:
    """RAPL energy of packages and DRAM, wraps taken out. The files are root's on most kernels."""

    def __init__(self, sys: Path) -> None:
        self._zones = tuple(_zones(sys))
        self._last_uj: dict[str, float] = {}
        self._last_s = 0.0
        self._total_j = 0.0

    def read(self, now_s: float) -> Values:
        """Energy since the first reading, and from the second on the mean power between two."""
        if not self._zones:
            return {}
        before_s, before_j, first = self._last_s, self._total_j, not self._last_uj
        for zone in self._zones:
            with open(f"{zone.path}/energy_uj", encoding="ascii") as file:
                uj = float(file.read())
            self._total_j += (uj - self._last_uj.get(zone.path, uj)) % zone.range_uj / 1e6
            self._last_uj[zone.path] = uj
        self._last_s = now_s
        values = {"host_cpu_energy_joules_total": self._total_j}
        if not first and now_s > before_s:
            values["host_cpu_power_watts"] = (self._total_j - before_j) / (now_s - before_s)
        return values


def _zones(sys: Path) -> Iterator[_Zone]:
    for path in sorted(_found(f"{sys}/class/powercap", "intel-rapl:*")):
        if (attribute(f"{path}/name") or "").startswith(("package", "dram")):  # core and uncore are part of the package
            for range_uj in _numbers(path, "max_energy_range_uj"):
                yield _Zone(path, range_uj)


def _found(folder: str, pattern: str) -> list[str]:
    """Not by pathlib, which interns every part of every path: the interpreter's table of those grows with what comes and goes."""
    return [f"{folder}/{name}" for name in glob.iglob(pattern, root_dir=folder)]


def _numbers(folder: str, pattern: str) -> Iterator[float]:
    """A sensor that does not answer raises an error when it is read: it is left out."""
    for path in _found(folder, pattern):
        text = attribute(path)
        if text is not None and text.lstrip("-").isdigit():
            yield float(text)
