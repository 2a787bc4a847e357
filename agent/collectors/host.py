"""The node itself: CPUs, memory, pressure, disks, network, sensors."""

import time
from collections.abc import Callable
from functools import partial
from typing import Final

from gpuwarden.agent.collectors import host_proc, host_sys
from gpuwarden.agent.config import AgentConfig
from gpuwarden.agent.reading import DeviceReading, Reading, Unsupported
from gpuwarden.proto.catalogue import BMC, COLUMNS, Device

Values = dict[str, float]

EXPECTED: Final = tuple(metric.name for metric in COLUMNS[Device.HOST] if not metric.name.startswith(BMC))


class Host:
    """Every source stands alone: one that cannot be read takes only its own metrics away."""

    name = "host"

    def __init__(self, config: AgentConfig) -> None:
        self._node, self._proc = config.node, config.proc
        self._cpu = host_proc.cpu_times(config.proc)
        self._energy = host_sys.CpuEnergy(config.sys)
        self._sources: tuple[Callable[[], Values], ...] = (
            self._cpu_shares,
            *(partial(source, config.proc) for source in host_proc.SOURCES),
            partial(host_proc.disks, config.proc, config.sys),
            partial(host_sys.sensors, config.sys),
            partial(host_sys.clocks, config.sys),
            lambda: self._energy.read(time.monotonic()),
        )

    def collect(self) -> Reading:
        values: Values = {}
        reasons: set[str] = set()
        for source in self._sources:
            try:
                values.update(source())
            except OSError as why:
                reasons.add(f"{why.filename}: {why.strerror}")
            except (ValueError, LookupError) as why:
                reasons.add(f"unexpected layout: {why}")
        return Reading((DeviceReading(Device.HOST, self._node, 0, values),), lacks=self._lacks(values, reasons))

    def close(self) -> None:
        pass

    def _cpu_shares(self) -> Values:
        before, self._cpu = self._cpu, host_proc.cpu_times(self._proc)
        return host_proc.cpu_ratios(before, self._cpu)

    def _lacks(self, values: Values, reasons: set[str]) -> tuple[str, ...]:
        """Without those that only need a second reading."""
        later = {"host_cpu_power_watts"} if "host_cpu_energy_joules_total" in values else set()
        later |= {name for name in EXPECTED if name.startswith("host_cpu_") and name.endswith("_ratio")}
        missing = [name for name in EXPECTED if name not in values and name not in later]
        return (*sorted(reasons), *(f"{name}: not on this node" for name in missing))


def open(config: AgentConfig) -> Host:
    """Raises Unsupported where there is no Linux /proc."""
    try:
        return Host(config)
    except (OSError, ValueError, LookupError) as why:
        raise Unsupported(f"{config.proc}/stat: {why}") from None
