"""What /sys tells of a node: sensors, CPU energy, clocks. `sys` is where it is mounted.

Layouts: the kernel's Documentation/hwmon/sysfs-interface.rst, power/powercap/powercap.rst and admin-guide/pm/cpufreq.rst.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gpuwarden.agent.sysfs import attribute

Values = dict[str, float]


def sensors(sys: Path) -> Values:
    """Hottest temperature, slowest fan, and the node's power where a supply or a board measures it."""
    chips = list((sys / "class" / "hwmon").glob("hwmon*"))
    temperatures = [milli / 1e3 for chip in chips for milli in _numbers(chip, "temp*_input")]
    fans = [rpm for chip in chips for rpm in _numbers(chip, "fan*_input")]
    meters = [chip for chip in chips if attribute(str(chip / "name")) == "power_meter"]  # ACPI's, which sees the whole node
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
    cores = list((sys / "devices" / "system" / "cpu").glob("cpu[0-9]*/cpufreq"))
    hertz = [1e3 * khz for core in cores for khz in _numbers(core, "scaling_cur_freq")]
    governors = [governor for core in cores if (governor := attribute(str(core / "scaling_governor")))]
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

    path: Path
    range_uj: float


class CpuEnergy:
    """RAPL energy of packages and DRAM, wraps taken out. The files are root's on most kernels."""

    def __init__(self, sys: Path) -> None:
        self._zones = tuple(_zones(sys))
        self._last_uj: dict[Path, float] = {}
        self._last_s = 0.0
        self._total_j = 0.0

    def read(self, now_s: float) -> Values:
        """Energy since the first reading, and from the second on the mean power between two."""
        if not self._zones:
            return {}
        before_s, before_j, first = self._last_s, self._total_j, not self._last_uj
        for zone in self._zones:
            uj = float((zone.path / "energy_uj").read_text())
            self._total_j += (uj - self._last_uj.get(zone.path, uj)) % zone.range_uj / 1e6
            self._last_uj[zone.path] = uj
        self._last_s = now_s
        values = {"host_cpu_energy_joules_total": self._total_j}
        if not first and now_s > before_s:
            values["host_cpu_power_watts"] = (self._total_j - before_j) / (now_s - before_s)
        return values


def _zones(sys: Path) -> Iterator[_Zone]:
    for path in sorted((sys / "class" / "powercap").glob("intel-rapl:*")):
        if (attribute(str(path / "name")) or "").startswith(("package", "dram")):  # core and uncore are part of the package
            for range_uj in _numbers(path, "max_energy_range_uj"):
                yield _Zone(path, range_uj)


def _numbers(folder: Path, pattern: str) -> Iterator[float]:
    """A sensor that does not answer raises an error when it is read: it is left out."""
    for path in folder.glob(pattern):
        text = attribute(str(path))
        if text is not None and text.lstrip("-").isdigit():
            yield float(text)
