"""What goes to another detector of the group, and what comes from one: nothing that was said is lost, and nothing said twice."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from gpuwarden.core.bus import BusError
from gpuwarden.core.service import Inbox
from gpuwarden.detector.events import Event, Leaving, Moved

LEAVING_S: Final = 5.0  # a third of what a member may be silent for: meanwhile it sends no heartbeats
ROOM_S: Final = 0.01
PAUSE_S: Final = 1.0

Left = Callable[[], tuple[bytes, ...]]

_log = logging.getLogger("gpuwarden.detector")


class Handover:
    """Told by the consumer as partitions come and go; `over` by who performs the machine's actions."""

    def __init__(self, inbox: Inbox[Event], stop: threading.Event, left: Left) -> None:
        """`left` reads what is firing; BusError if it cannot."""
        self._inbox, self._stop, self._left = inbox, stop, left
        self._over = threading.Event()
        self._places: frozenset[tuple[str, int]] = frozenset()

    def leaving(self) -> None:
        """Waits until what was read is judged and what was said is durable, LEAVING_S at most."""
        end_s = time.monotonic() + LEAVING_S
        self._over.clear()
        while not self._stop.is_set() and time.monotonic() < end_s:
            if self._inbox.offer(Leaving()):
                self._over.wait(end_s - time.monotonic())
                return
            self._stop.wait(ROOM_S)

    def over(self) -> None:
        self._over.set()

    def given(self, places: frozenset[tuple[str, int]]) -> None:
        """Whoever had them before has said all that it will: what of it fires is read now."""
        firing: tuple[bytes, ...] = ()
        while places - self._places and not self._stop.is_set():
            try:
                firing = self._left()
                break
            except BusError as why:
                _log.warning("what is firing cannot be read yet: %s", why)
                self._stop.wait(PAUSE_S)
        self._places = places
        self._inbox.put(Moved(tuple(sorted(places)), firing))
