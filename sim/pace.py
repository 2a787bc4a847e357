"""Virtual time against the wall clock: how fast a run may go. What happens in it is the same at any pace."""

import threading
import time
from typing import Final

TOLERATED_S: Final = 0.01


class Pace:
    """At most `speed` virtual seconds a second; None: as fast as it goes. `stop` ends a wait, and then the run."""

    def __init__(self, speed: float | None, stop: threading.Event) -> None:
        self._speed, self._stop = speed, stop
        self._start_s = time.monotonic()

    def __call__(self, now_s: float) -> None:
        """Waits until it is time; Stopped once somebody asked for it."""
        if self._speed is not None:
            ahead_s = now_s / self._speed - (time.monotonic() - self._start_s)
            if ahead_s > TOLERATED_S:
                self._stop.wait(ahead_s)
        if self._stop.is_set():
            raise Stopped


class Stopped(Exception):
    """The run was ended from outside."""
