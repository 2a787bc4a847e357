"""GPUs through NVML, in a child process: a driver call that hangs is cut off and becomes an event."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from gpuwarden.agent.child import Child, ChildFailed, Hung
from gpuwarden.agent.config import AgentConfig
from gpuwarden.agent.jobs import Jobs
from gpuwarden.agent.nvml import METRICS, SLOW, GpuLost, Nvml, NvmlGpu, SessionOver, XidWatch
from gpuwarden.agent.reading import (
    Collector,
    DeviceEvent,
    DeviceReading,
    GpuProcess,
    NoReading,
    Reading,
    Unsupported,
)
from gpuwarden.proto.catalogue import Device

DEADLINE_S: Final = 5.0
_READ: Final = METRICS - SLOW


def open(config: AgentConfig) -> Collector:
    """Unsupported where there is no driver, library or card."""
    return NvmlCollector(Jobs(config.proc, config.job_map))


class NvmlCollector:
    """Reads every card once a pass."""

    name = "nvml"

    def __init__(self, jobs: Jobs) -> None:
        self._child, self._jobs = Child(_Session), jobs
        self._hung = False
        try:
            self._child.call("read", deadline_s=DEADLINE_S)
        except ChildFailed as why:
            self.close()
            raise Unsupported(why.message) if why.kind == Unsupported.__name__ else why from None

    def collect(self) -> Reading:
        """What the child read. A driver that hangs is told once, and fails as a collector for as long as it lasts."""
        try:
            reading: Reading = self._child.call("read", deadline_s=DEADLINE_S)
        except Hung as why:
            if self._hung:
                raise
            self._hung = True
            return Reading(events=(DeviceEvent("driver_hung", "", 0, str(why)),))
        except ChildFailed as why:
            if why.kind != SessionOver.__name__:
                raise
            return Reading(events=(DeviceEvent("driver_reloaded", "", 0, why.message),))
        self._hung = False
        return replace(reading, processes=tuple(map(self._with_job, reading.processes)))

    def _with_job(self, process: GpuProcess) -> GpuProcess:
        job = self._jobs.of(process.pid)
        return replace(process, job_id=job.id, user=job.user, job_class=job.job_class)

    def close(self) -> None:
        self._child.close()


class _Session:
    """Lives in the child; its state is one session with the driver."""

    def __init__(self) -> None:
        self._nvml = Nvml()
        self._xids = XidWatch(self._nvml.gpus)
        self._xid_count = [0] * len(self._nvml.gpus)
        self._lost: set[int] = set()
        self._actions: dict[int, float] = {}

    def read(self) -> Reading:
        xids = self._xids.take()
        events = list(self._xid_events(xids))
        devices = []
        processes: list[GpuProcess] = []
        for gpu in self._nvml.gpus:
            try:
                values = self._nvml.read(gpu, _READ)
                running = self._nvml.running(gpu)
            except GpuLost as why:
                events += self._just_lost(gpu, why)
                devices.append(DeviceReading(Device.GPU, gpu.id, gpu.index, {"gpu_lost": 1.0}))
                continue
            self._lost.discard(gpu.index)
            events += self._recovery(gpu, values)
            values |= {"gpu_lost": 0.0, "gpu_processes": len(running), "gpu_xid_errors_total": self._xid_count[gpu.index]}
            devices.append(DeviceReading(Device.GPU, gpu.id, gpu.index, values))
            processes += [GpuProcess(gpu.id, pid, memory_bytes) for pid, memory_bytes in running]
        lacks = (*self._nvml.lacks(), *filter(None, [self._xids.lack]))
        if not devices:
            raise NoReading
        return Reading(tuple(devices), tuple(processes), tuple(events), lacks)

    def _xid_events(self, xids: tuple[tuple[int, int], ...]) -> Iterator[DeviceEvent]:
        for index, code in xids:
            gpu = self._nvml.gpus[index]
            self._xid_count[index] += 1
            yield DeviceEvent("xid", gpu.id, code, f"XID {code} on GPU {index}")

    def _just_lost(self, gpu: NvmlGpu, why: GpuLost) -> Iterator[DeviceEvent]:
        if gpu.index not in self._lost:
            self._lost.add(gpu.index)
            yield DeviceEvent("gpu_lost", gpu.id, 0, str(why))

    def _recovery(self, gpu: NvmlGpu, values: dict[str, float]) -> Iterator[DeviceEvent]:
        action = values.get("gpu_recovery_action", 0.0)
        if action and self._actions.get(gpu.index, 0.0) != action:
            yield DeviceEvent("recovery_action", gpu.id, int(action), f"GPU {gpu.index} asks for recovery action {int(action)}")
        self._actions[gpu.index] = action
