"""GPUs through NVML, in a child process: a driver call that hangs is cut off and becomes an event."""

from contextlib import suppress
from dataclasses import replace
from typing import Final

from gpuwarden.agent.child import Child, ChildFailed, Hung
from gpuwarden.agent.config import AgentConfig
from gpuwarden.agent.jobs import Jobs
from gpuwarden.agent.nvml_loads import DriverLoads
from gpuwarden.agent.reading import (
    Collector,
    DeviceEvent,
    DeviceReading,
    GpuProcess,
    Reading,
    SessionOver,
    Unsupported,
)
from gpuwarden.proto.catalogue import Device

PASS: Final = "gpuwarden.agent.nvml_pass:Pass"
DEADLINE_S: Final = 5.0
_HUNG: Final = "driver_hung"
_RELOADED: Final = "driver_reloaded"


def open(config: AgentConfig) -> Collector:
    """Unsupported where there is no driver, library or card."""
    return NvmlCollector(Jobs(config.proc, config.job_map))


class NvmlCollector:
    """Reads every card once a pass. A driver that hangs at the start is told by the first pass."""

    name = "nvml"

    def __init__(self, jobs: Jobs) -> None:
        self._child = Child(PASS, types=(Reading, DeviceReading, GpuProcess, DeviceEvent, Device))
        self._jobs, self._loads = jobs, DriverLoads()
        self._trouble = ""  # the kind of event that was told and is not over
        with suppress(Hung):
            self._look_for_cards()

    def collect(self) -> Reading:
        """What the child read. Trouble with the driver is told once, and fails as a collector for as long as it lasts."""
        try:
            reading: Reading = self._child.call("read", deadline_s=DEADLINE_S)
        except Hung as why:
            return self._tell(_HUNG, why)
        except ChildFailed as why:
            if why.kind != SessionOver.__name__:
                raise
            return self._tell(_RELOADED, why)
        anew = self._loads.anew(_energy_j(reading)) and self._trouble != _RELOADED
        self._trouble = ""
        told = (DeviceEvent(_RELOADED, "", 0, "energy counters have gone back"),) if anew else ()
        return replace(reading, processes=tuple(map(self._with_job, reading.processes)), events=reading.events + told)

    def close(self) -> None:
        self._child.close()

    def _look_for_cards(self) -> None:
        try:
            self._child.call("count", deadline_s=DEADLINE_S)
        except ChildFailed as why:
            self.close()
            raise Unsupported(why.message) if why.kind == Unsupported.__name__ else why from None

    def _tell(self, kind: str, why: Hung | ChildFailed) -> Reading:
        if self._trouble == kind:
            raise why
        self._trouble = kind
        return Reading(events=(DeviceEvent(kind, "", 0, str(why)),))

    def _with_job(self, process: GpuProcess) -> GpuProcess:
        job = self._jobs.of(process.pid)
        return replace(process, job_id=job.id, user=job.user, job_class=job.job_class)


def _energy_j(reading: Reading) -> dict[str, float]:
    name = "gpu_energy_joules_total"
    return {device.id: device.values[name] for device in reading.devices if name in device.values}
