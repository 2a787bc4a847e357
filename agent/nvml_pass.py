"""One pass over all cards, as the child process makes it."""

from collections.abc import Iterator

from gpuwarden.agent.nvml import Nvml, NvmlGpu
from gpuwarden.agent.nvml_sources import PROCESSES
from gpuwarden.agent.nvml_xids import XidWatch
from gpuwarden.agent.reading import DeviceEvent, DeviceReading, GpuLost, GpuProcess, Reading
from gpuwarden.proto.catalogue import Device


class Pass:
    """Its state is one session with the driver: what of each card was told already."""

    def __init__(self) -> None:
        self._nvml = Nvml()
        self._xids = XidWatch(self._nvml.gpus)
        self._xid_count = [0] * len(self._nvml.gpus)
        self._lost: set[int] = set()
        self._actions: dict[int, float] = {}

    def count(self) -> int:
        """Cards that the driver lists."""
        return len(self._nvml.gpus)

    def read(self) -> Reading:
        """Raises SessionOver."""
        events = list(self._xid_events())
        devices: list[DeviceReading] = []
        processes: list[GpuProcess] = []
        for gpu in self._nvml.gpus:
            try:
                values, running = self._nvml.read(gpu), self._nvml.running(gpu)
            except GpuLost as why:
                events += self._just_lost(gpu, why)
                devices.append(DeviceReading(Device.GPU, gpu.id, gpu.index, {"gpu_lost": 1.0}))
                continue
            self._lost.discard(gpu.index)
            events += self._recovery(gpu, values)
            devices.append(DeviceReading(Device.GPU, gpu.id, gpu.index, values | self._counts(gpu, running)))
            processes += [GpuProcess(gpu.id, pid, memory_bytes) for pid, memory_bytes in running or ()]
        lacks = (*self._nvml.lacks(), *filter(None, [self._xids.lack]))
        return Reading(tuple(devices), tuple(processes), tuple(events), lacks)

    def _counts(self, gpu: NvmlGpu, running: tuple[tuple[int, int], ...] | None) -> dict[str, float]:
        counts = {"gpu_lost": 0.0}
        if running is not None:
            counts[PROCESSES] = len(running)
        if gpu.index not in self._xids.blind:
            counts["gpu_xid_errors_total"] = self._xid_count[gpu.index]
        return counts

    def _xid_events(self) -> Iterator[DeviceEvent]:
        for index, code in self._xids.take():
            if index is None:
                yield DeviceEvent("xid", "", code, f"XID {code} on a card that NVML did not list")
                continue
            self._xid_count[index] += 1
            yield DeviceEvent("xid", self._nvml.gpus[index].id, code, f"XID {code} on GPU {index}")

    def _just_lost(self, gpu: NvmlGpu, why: GpuLost) -> Iterator[DeviceEvent]:
        if gpu.index not in self._lost:
            self._lost.add(gpu.index)
            yield DeviceEvent("gpu_lost", gpu.id, 0, str(why))

    def _recovery(self, gpu: NvmlGpu, values: dict[str, float]) -> Iterator[DeviceEvent]:
        action = values.get("gpu_recovery_action", 0.0)
        if action and self._actions.get(gpu.index, 0.0) != action:
            yield DeviceEvent("recovery_action", gpu.id, int(action), f"GPU {gpu.index} asks for recovery action {int(action)}")
        self._actions[gpu.index] = action
