"""A simulated GPU node, steered from a test while other processes see it through the unmodified pynvml."""

import ctypes
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from fakes.nvml.build import LIBRARY, build

XID_EVENT = 0x8
RECOVERY_EVENT = 0x8000
RECOVERY_XID = 154
SW_THERMAL, HW_THERMAL, BRAKE = 0x20, 0x40, 0x88


class PowerRead(NamedTuple):
    """One line of the log of power reads; `kind` is instant or average, `time_ns` CLOCK_BOOTTIME."""

    time_ns: int
    pid: int
    gpu: int
    kind: str
    counter: int
    value_mw: int


class FakeNode:
    """One node's GPUs, in a file at `path`. Start what shall see it with `env()` in its environment."""

    def __init__(self, path: Path, *, gpus: int = 8, seed: int = 1) -> None:
        self.path, self.gpus = path, gpus
        self._library = _load(build())
        self._node = self._library.fake_create(str(path).encode(), gpus, seed)
        if not self._node:
            raise OSError(f"cannot make a node of {gpus} GPUs at {path}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.hang(False)

    def env(self, *, few: bool = False, lacks: str = "") -> dict[str, str]:
        """What to add to a process's environment. `lacks`: calls and fields that answer NOT_SUPPORTED, with commas."""
        return {
            "LD_LIBRARY_PATH": str(build(few=few)),
            "GPUWARDEN_FAKE_NVML": str(self.path),
            "GPUWARDEN_FAKE_NVML_LACKS": lacks,
        }

    def set(self, knob: str, value: float, gpu: int | None = None) -> None:
        """Turns one knob (the names stand in steer.c) of one GPU, or of the node."""
        if not self._library.fake_set(self._node, knob.encode(), -1 if gpu is None else self._checked(gpu), value):
            raise KeyError(knob)

    def get(self, knob: str, gpu: int | None = None) -> float:
        value = ctypes.c_double()
        if not self._library.fake_get(
            self._node, knob.encode(), -1 if gpu is None else self._checked(gpu), ctypes.byref(value)
        ):
            raise KeyError(knob)
        return value.value

    def set_demand(self, gpu: int, power_w: float) -> None:
        """What the load would draw if nothing held it back; 70 W is idle."""
        self.set("demand_w", power_w, gpu)

    def set_demands(self, power_w: float) -> None:
        for gpu in range(self.gpus):
            self.set_demand(gpu, power_w)

    def hang(self, hung: bool, call: str = "") -> None:
        """Every call of every process, or this one alone, blocks until this is taken back. `nvmlInit`: whatever its version."""
        self._library.fake_hang(self._node, hung, call.encode())

    def lose(self, gpu: int, lost: bool = True) -> None:
        self.set("lost", lost, gpu)

    def vanish(self, gpu: int) -> None:
        """Sessions opened from now on do not list this card: the indexes of those behind it move."""
        self.lose(gpu)
        self.set("gone", True, gpu)

    def xid(self, gpu: int, code: int) -> None:
        self._library.fake_event(self._node, self._checked(gpu), XID_EVENT, code)

    def recovery_action(self, gpu: int, action: int) -> None:
        """Field 230 changes, and the driver announces it both ways."""
        self.set("recovery_action", action, gpu)
        self._library.fake_event(self._node, self._checked(gpu), RECOVERY_EVENT, action)
        self.xid(gpu, RECOVERY_XID)

    def slow_down(self, gpu: int, reasons: int) -> None:
        """Forces SW_THERMAL, HW_THERMAL or BRAKE bits; 0 takes them back."""
        self.set("forced_reasons", reasons, gpu)

    def reset_limits(self, limit_w: float | None = None) -> None:
        """Somebody else on the host writes every card's limit (None: back to its default)."""
        for gpu in range(self.gpus):
            self.set("requested_w", self.get("default_w", gpu) if limit_w is None else limit_w, gpu)

    def other_limit(self, gpu: int, limit_w: float) -> None:
        """A limit that firmware or the baseboard controller holds beside ours; 0 takes it back."""
        self.set("other_limit_w", limit_w, gpu)

    def reload_driver(self) -> None:
        """Limits, locked clocks, energy and volatile counters start anew. Sessions that are open do not notice."""
        self._library.fake_reload(self._node)

    def unload_driver(self) -> None:
        """Sessions that are open end, and none can be opened until `reload_driver`."""
        self._library.fake_unload(self._node)

    def add_process(self, gpu: int, pid: int, memory_bytes: int) -> None:
        if not self._library.fake_process(self._node, self._checked(gpu), pid, memory_bytes):
            raise ValueError(f"GPU {gpu} has no room for another process")

    def end_processes(self, gpu: int) -> None:
        self._library.fake_processes_end(self._node, self._checked(gpu))

    def true_power_w(self, gpu: int) -> float:
        """What the card draws, without the sensor's error and delay."""
        return self.get("power_w", gpu)

    def sensor_w(self, gpu: int) -> float:
        """What the card's sensor shows to whoever reads it now."""
        return self.get("sensor_w", gpu)

    def true_energy_j(self, gpu: int) -> float:
        return self.get("true_energy_j", gpu)

    def counted_energy_j(self, gpu: int) -> float:
        """What the card's own counter stands at, with its sensor's error."""
        return self.get("energy_j", gpu)

    def limit_w(self, gpu: int) -> float:
        return self.get("requested_w", gpu)

    def power_reads(self) -> list[PowerRead]:
        """Every power read of every process so far, oldest first."""
        log = self.path.with_name(self.path.name + ".log")
        lines = log.read_text().splitlines() if log.exists() else []
        return [_power_read(*line.split()) for line in lines]

    def _checked(self, gpu: int) -> int:
        if not 0 <= gpu < self.gpus:
            raise IndexError(f"GPU {gpu} of {self.gpus}")
        return gpu


def _power_read(time_ns: str, pid: str, gpu: str, kind: str, counter: str, value_mw: str) -> PowerRead:
    return PowerRead(int(time_ns), int(pid), int(gpu), kind, int(counter), int(value_mw))


def _load(folder: Path) -> ctypes.CDLL:
    library = ctypes.CDLL(str(folder / LIBRARY))
    node, number, count = ctypes.c_void_p, ctypes.c_int, ctypes.c_uint64
    library.fake_create.restype = node
    library.fake_create.argtypes = [ctypes.c_char_p, ctypes.c_uint32, count]
    library.fake_set.argtypes = [node, ctypes.c_char_p, number, ctypes.c_double]
    library.fake_get.argtypes = [node, ctypes.c_char_p, number, ctypes.POINTER(ctypes.c_double)]
    library.fake_event.argtypes = [node, number, count, count]
    library.fake_process.argtypes = [node, number, number, count]
    library.fake_processes_end.argtypes = [node, number]
    library.fake_hang.argtypes = [node, number, ctypes.c_char_p]
    library.fake_unload.argtypes = [node]
    library.fake_reload.argtypes = [node]
    return library
