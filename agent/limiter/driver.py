"""The limiter's only thread that speaks to the driver: power ten times a second, limits when ordered.

The machine hears from it in any case: while a driver call blocks, a second thread puts readings of NaN, so that leases still end.
"""

import logging
import math
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, Protocol

from gpuwarden.agent.child import ChildFailed, Hung
from gpuwarden.agent.limiter.card import CardState
from gpuwarden.agent.limiter.events import DriverHung, Event, LimitsRead, PowerRead

READ_S: Final = 0.1
SILENT_S: Final = 0.3  # setting the limits of eight cards takes 160 ms
HUNG_REST_S: Final = 2.0  # between attempts at a driver that hangs
STUCK_S: Final = 20.0  # longer than any turn with its deadlines: a child's start, a set, three reads
FAILED_REST_S: Final = 0.25  # after a reload the limits are back at the default: there is no time to lose

Limits = tuple[float, ...]

_log = logging.getLogger("gpuwarden.limiter")


class Cards(Protocol):
    """This node's cards, in a fixed order. Each call may raise Hung or ChildFailed."""

    @property
    def driver_loads(self) -> int: ...

    def next_power_w(self, interrupt: int) -> Limits | None:
        """Ten times a second; None once the descriptor `interrupt` can be read."""
        ...

    def limits(self) -> tuple[CardState, ...]: ...

    def set_limits(self, limits_w: Limits) -> Sequence[str]:
        """'' or why the driver refused, per card."""
        ...


class Driver:
    """Orders wait in one place each: a newer limit makes the one that waits worthless."""

    def __init__(self, cards: Cards, count: int, put: Callable[[Event], object], clock: Callable[[], float]) -> None:
        self._cards, self._put, self._clock = cards, put, clock
        self._nothing = PowerRead((math.nan,) * count)
        self._changed = threading.Condition()  # its lock guards the three below
        self._to_set: Limits | None = None
        self._to_read = False
        self._stopping = False
        self._ordered = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)  # can be read while one of the three may be news
        self._told_s = self._turned_s = clock()
        self._silent = False
        self._rest_until_s = -math.inf
        self._refused: Sequence[str] = ()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="driver", daemon=True)
        self._thread.start()
        threading.Thread(target=self._tell_anyway, name="silence", daemon=True).start()

    @property
    def alive(self) -> bool:
        """False once its thread has ended, or is in a call that no deadline ends: then no order is carried out any more."""
        return self._thread.is_alive() and self._clock() - self._turned_s < STUCK_S

    def set_limits(self, limits_w: Limits) -> None:
        with self._ordering():
            self._to_set = limits_w

    def read_limits(self) -> None:
        with self._ordering():
            self._to_read = True

    def close(self, leave_w: Limits | None, patience_s: float) -> bool:
        """Sets `leave_w`, if that is not None, and ends. False if the driver does not let it."""
        with self._ordering():
            self._to_set, self._stopping = leave_w, True
        self._thread.join(patience_s)
        self._ended.set()
        if ended := not self._thread.is_alive():
            os.close(self._ordered)
        return ended

    @contextmanager
    def _ordering(self) -> Iterator[None]:
        with self._changed:
            yield
            self._changed.notify_all()
            os.eventfd_write(self._ordered, 1)

    def _run(self) -> None:
        while True:
            self._turned_s = self._clock()
            to_set, to_read, stopping = self._next_order()
            if to_set is not None or to_read:
                self._perform(to_set)
            if stopping:
                return
            if self._silent:
                self._rest()  # the next order finds out whether the driver answers again
            else:
                self._read_power()

    def _next_order(self) -> tuple[Limits | None, bool, bool]:
        with self._changed:
            if not self._may_act():
                return None, False, False
            order = self._to_set, self._to_read, self._stopping
            self._to_set, self._to_read = None, False
            return order

    def _rest(self) -> None:
        with self._changed:
            self._changed.wait_for(self._may_act, READ_S)

    def _may_act(self) -> bool:
        ordered = self._to_set is not None or self._to_read
        return self._stopping or (ordered and self._clock() >= self._rest_until_s)

    def _perform(self, to_set: Limits | None) -> None:
        try:
            if to_set is not None:
                self._say_refused(self._cards.set_limits(to_set))
            read = self._cards.limits()
        except (Hung, ChildFailed) as why:
            self._say_silent("set limits" if to_set is not None else "read limits", why)
            return
        self._silent = False
        refused = tuple(self._refused) if any(self._refused) else ()
        self._put(LimitsRead(read, self._cards.driver_loads, to_set is not None, refused))

    def _read_power(self) -> None:
        try:
            power_w = self._cards.next_power_w(self._ordered)
        except (Hung, ChildFailed) as why:
            self._say_silent("read power", why)
            return
        if power_w is None:
            os.eventfd_read(self._ordered)
        else:
            self._tell(PowerRead(power_w))

    def _say_silent(self, call: str, why: Hung | ChildFailed) -> None:
        self._silent = True
        self._rest_until_s = self._clock() + (HUNG_REST_S if isinstance(why, Hung) else FAILED_REST_S)
        self._put(DriverHung(f"{call}: {why}"))

    def _say_refused(self, refused: Sequence[str]) -> None:
        if any(refused) and refused != self._refused:
            _log.error("the driver refuses limits: %s", ", ".join(f"card {i}: {why}" for i, why in enumerate(refused) if why))
        self._refused = refused

    def _tell(self, event: PowerRead) -> None:
        self._told_s = self._clock()
        self._put(event)

    def _tell_anyway(self) -> None:
        wait_s = SILENT_S
        while not self._ended.wait(wait_s):
            wait_s = self._told_s + SILENT_S - self._clock()
            if wait_s <= 0.0:
                self._put(self._nothing)
                wait_s = READ_S
