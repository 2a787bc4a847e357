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

    def keep_key(self, node: str, key: bytes) -> None:
        """Keys are never in a log; these seal nothing but a simulation, and a replay needs them."""
        if self._folder is not None:
            path = self._folder / "keys" / f"{node}.key"
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.touch(mode=0o600)
            path.write_text(key.hex() + "\n", encoding="ascii")

    def close(self) -> None:
        for log in self._logs:
            log.close()
