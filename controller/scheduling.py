"""The edge to the scheduler of jobs: one thread asks it what it holds, and does what it is ordered to, one order at a time."""

import logging
import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeAlias

from gpuwarden.controller.isolation.events import Outcome, Performed, SchedulerLost, TruthSeen
from gpuwarden.controller.schedulers.scheduler import NotNow, Refused, Scheduler, Unreachable

EVERY_S: Final = 5.0
MOST_WAITING: Final = 256
MOST_SAID_CHARS: Final = 300
_AGAIN_S: Final = 0.1
_CLOSE_S: Final = 1.0

_log = logging.getLogger("gpuwarden.scheduler")


Event: TypeAlias = TruthSeen | SchedulerLost | Performed
Act: TypeAlias = Callable[[Scheduler], None]


class Scheduling:
    """From construction to `close`. `offer` takes an event and answers whether there was room for it; `clock` is what `asked_s` is told by.

    Any thread may order. What comes of an order is offered until there is room; a truth that finds none comes again.
    """

    def __init__(self, scheduler: Scheduler, offer: Callable[[Event], bool], clock: Callable[[], float], every_s: float = EVERY_S) -> None:
        self._scheduler, self._offer, self._clock, self._every_s = scheduler, offer, clock, every_s
        self._waiting: queue.Queue[tuple[str, Act] | None] = queue.Queue(MOST_WAITING)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="scheduler", daemon=True)
        self._thread.start()

    def order(self, key: str, act: Act) -> None:
        """Returns at once, and is answered by one Performed. Who orders sees to it that nothing is ordered twice; the scheduler is asked on conditions, so that
        even then twice is once."""
        try:
            self._waiting.put_nowait((key, act))
        except queue.Full:
            self._offer(Performed(key, Outcome.REFUSED, f"{MOST_WAITING} orders are waiting already"))

    def close(self) -> None:
        """What is under way is left to end by itself; what waits is not begun."""
        self._ended.set()
        with suppress(queue.Full):  # whoever takes the next one sees that it has ended
            self._waiting.put_nowait(None)
        self._thread.join(_CLOSE_S)

    def _run(self) -> None:
        try:
            self._serve()
        finally:
            if not self._ended.is_set():
                _log.critical("nobody asks the scheduler any more: its thread has ended")
                self._tell(SchedulerLost("the controller's own thread that asks it has ended"))

    def _serve(self) -> None:
        """What it holds is asked when it is due, orders waiting or not, and once after the last of them."""
        due_s = time.monotonic()
        while not self._ended.is_set():
            if time.monotonic() >= due_s:
                self._ask()
                due_s = time.monotonic() + self._every_s
            try:
                ordered = self._waiting.get(timeout=max(0.0, due_s - time.monotonic()))
            except queue.Empty:
                continue
            if ordered is None or self._ended.is_set():
                return
            self._tell(self._carried_out(*ordered))
            if self._waiting.empty():
                due_s = time.monotonic()  # what came of them is seen at once

    def _ask(self) -> None:
        asked_s = self._clock()
        try:
            self._offer(TruthSeen(self._scheduler.truth(), asked_s))
        except Unreachable as why:
            self._offer(SchedulerLost(str(why)[:MOST_SAID_CHARS]))

    def _carried_out(self, key: str, act: Act) -> Performed:
        try:
            act(self._scheduler)
        except Refused as why:
            return Performed(key, Outcome.REFUSED, str(why)[:MOST_SAID_CHARS])
        except NotNow as why:
            return Performed(key, Outcome.LATER, str(why)[:MOST_SAID_CHARS])
        except Unreachable as why:
            return Performed(key, Outcome.UNKNOWN, str(why)[:MOST_SAID_CHARS])
        return Performed(key, Outcome.DONE)

    def _tell(self, event: Event) -> None:
        while not self._offer(event) and not self._ended.wait(_AGAIN_S):
            pass
