"""XIDs as they come. A thread waits for them, because the driver keeps only the newest one of a card."""

import ctypes
import threading
import time
from collections import deque
from contextlib import suppress
from typing import Any, Final

import pynvml  # type: ignore[import-untyped]  # nvidia-ml-py ships no types

from gpuwarden.agent.nvml import NvmlGpu
from gpuwarden.agent.nvml_errors import reason

KEPT: Final = 1000
_WAIT_MS: Final = 1000
_REST_S: Final = 1.0


class XidWatch:
    """`lack` says for which cards XIDs cannot be seen and why, '' if for none; `blind` are their indexes."""

    def __init__(self, gpus: tuple[NvmlGpu, ...]) -> None:
        self._gpus = gpus
        self._seen: deque[tuple[int | None, int]] = deque(maxlen=KEPT)
        self._refused: dict[int, str] = {}
        self._broken = ""
        self._set = self._open()
        if len(self._refused) < len(gpus):
            threading.Thread(target=self._wait, name="xid", daemon=True).start()

    @property
    def blind(self) -> frozenset[int]:
        return frozenset(gpu.index for gpu in self._gpus if self._broken or gpu.index in self._refused)

    @property
    def lack(self) -> str:
        told = self._broken or ", ".join(f"GPU {index} {why}" for index, why in self._refused.items())
        return f"gpu_xid_errors_total: events {told}" if told else ""

    def take(self) -> tuple[tuple[int | None, int], ...]:
        """(GPU index, XID) of each event since the last call, oldest first. No index: no card that this session knows."""
        return tuple(self._seen.popleft() for _ in range(len(self._seen)))

    def _open(self) -> Any:
        """A set of the events of every card that lets itself be watched now."""
        try:
            opened = pynvml.nvmlEventSetCreate()
        except pynvml.NVMLError as error:
            self._refused = {gpu.index: reason(error) for gpu in self._gpus}
            return None
        self._refused = {gpu.index: why for gpu in self._gpus if (why := _register(gpu, opened))}
        return opened

    def _wait(self) -> None:
        while True:
            try:
                event = pynvml.nvmlEventSetWait_v2(self._set, _WAIT_MS)
            except pynvml.NVMLError_Timeout:
                self._broken = ""
            except pynvml.NVMLError as error:  # one lost card ends the wait for all of its set
                self._broken = reason(error)
                time.sleep(_REST_S)
                self._open_anew()
            else:
                self._broken = ""
                self._seen.append((self._index(event.device), event.eventData))

    def _open_anew(self) -> None:
        with suppress(pynvml.NVMLError):
            pynvml.nvmlEventSetFree(self._set)
        self._set = self._open()

    def _index(self, handle: Any) -> int | None:
        address = _address(handle)
        return next((gpu.index for gpu in self._gpus if gpu.handle is not None and _address(gpu.handle) == address), None)


def _register(gpu: NvmlGpu, events: Any) -> str:
    """'' or why this card's events cannot be seen."""
    if gpu.handle is None:
        return "is lost"
    try:
        pynvml.nvmlDeviceRegisterEvents(gpu.handle, pynvml.nvmlEventTypeXidCriticalError, events)
    except pynvml.NVMLError as error:
        return reason(error)
    return ""


def _address(handle: Any) -> int | None:
    return ctypes.cast(handle, ctypes.c_void_p).value
