"""The simulated daemons' event logs, if anybody wants them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gpuwarden.core.eventlog import EventLog
from gpuwarden.core.machine import Machine


class Watch:
    """Steps machines, and writes what they were told and what they ordered into `folder`; nothing without one."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._logs: list[EventLog] = []

    def machine(self, part: str, name: str, setup: object, machine: Machine[Any, Any]) -> Callable[[float, Any], Sequence[Any]]:
        """The machine's step."""
        if self._folder is None:
            return machine.step
        log = EventLog(self._folder, part, name, setup)
        self._logs.append(log)

        def step(now_s: float, event: object) -> Sequence[Any]:
            actions = machine.step(now_s, event)
            log.write(now_s, event, actions)
            return actions

        return step

    def close(self) -> None:
        for log in self._logs:
            log.close()
