"""Tells the service manager how a daemon does, as sd_notify(3) has it: a datagram of `KEY=VALUE` lines on a Unix socket."""

import os
import socket
import time
from collections.abc import Callable, Mapping
from typing import Final

STARTING_S: Final = 2.0  # how often a loop that is not ready yet says that it turns
STARTING_PATIENCE_S: Final = 10.0
SEND_S: Final = 0.5


class Supervisor:
    """The service manager above this process; where none listens, nothing is told. `clock`: seconds that never go back."""

    def __init__(self, environ: Mapping[str, str] = os.environ, clock: Callable[[], float] = time.monotonic) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        ours = environ.get("WATCHDOG_PID", "") in ("", str(os.getpid()))
        self._watchdog_s = int(environ.get("WATCHDOG_USEC", "0")) / 1e6 if ours else 0.0
        self._clock, self._due_s = clock, clock()
        self._ready = False
        self._status = ""

    def turned(self) -> None:
        """For the loop that does the work, and it alone: at half of the watchdog's time it says that it turns.

        Until the daemon is ready no watchdog runs: there the loop puts off the end of the time for starting.
        """
        now_s = self._clock()
        if now_s < self._due_s:
            return
        if not self._ready:
            self._due_s = now_s + STARTING_S
            self._tell(f"EXTEND_TIMEOUT_USEC={STARTING_PATIENCE_S * 1e6:.0f}")
        elif self._watchdog_s:
            self._due_s = now_s + self._watchdog_s / 2
            self._tell("WATCHDOG=1")

    def ready(self, status: str) -> None:
        """What must hold before others may start holds; said once."""
        if self._ready:
            self.status(status)
            return
        self._ready, self._status, self._due_s = True, status, self._clock()
        self._tell("READY=1", f"STATUS={status}")

    def status(self, status: str) -> None:
        """One sentence for `systemctl status`; the same again is not told."""
        if status != self._status:
            self._status = status
            self._tell(f"STATUS={status}")

    def waits(self, why: str) -> None:
        """For work that waits for another machine: that is work too, and nothing that a restart would mend."""
        self.ready(f"waits: {why}")
        self.turned()

    def stopping(self) -> None:
        self._tell("STOPPING=1")

    def _tell(self, *lines: str) -> None:
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as speaking:
            speaking.settimeout(SEND_S)
            try:
                speaking.sendto("\n".join(lines).encode(), self._address)
            except OSError:
                return  # nobody to tell; if somebody waits for it, he ends this process
