"""The limiter's only thread that speaks to the driver: power ten times a second, limits when ordered.

The machine hears from it in any case: while a driver call blocks, a second thread puts readings of NaN, so that leases still end.
"""

import logging
import math
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple, Protocol

from gpuwarden.agent.child import ChildFailed, Hung
from gpuwarden.agent.limiter.card import CardState
from gpuwarden.agent.limiter.events import ClocksLocked, DriverHung, Event, LimitsRead, PowerRead

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

    @property
    def limits_rose(self) -> bool:
        """Whether with the newest power some limit was higher than last read: `limits` then tells more."""
        ...

    def next_power_w(self, interrupt: int) -> Limits | None:
        """Ten times a second; None once the descriptor `interrupt` can be read."""
        ...

    def lock_clocks(self, clocks_hz: Limits) -> Sequence[str]:
        """'' or why the driver refused, per card."""
        ...

    def limits(self) -> tuple[CardState, ...]: ...

    def set_limits(self, limits_w: Limits) -> Sequence[str]:
        """'' or why the driver refused, per card."""
        ...


class _Order(NamedTuple):
    """What waits to be done; None: nothing of that kind."""

    limits_w: Limits | None = None
    clocks_hz: Limits | None = None
    read: bool = False


class Driver:
    """Orders wait in one place each: a newer limit makes the one that waits worthless."""

    def __init__(self, cards: Cards, count: int, put: Callable[[Event], object], clock: Callable[[], float]) -> None:
        self._cards, self._put, self._clock = cards, put, clock
        self._nothing = PowerRead((math.nan,) * count)
        self._changed = threading.Condition()  # its lock guards the two below
        self._order = _Order()
        self._stopping = False
        self._ordered = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)  # can be read while one of the two may be news
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
            self._order = self._order._replace(limits_w=limits_w)

    def lock_clocks(self, clocks_hz: Limits) -> None:
        with self._ordering():
            self._order = self._order._replace(clocks_hz=clocks_hz)

    def read_limits(self) -> None:
        with self._ordering():
            self._order = self._order._replace(read=True)

    def close(self, leave_w: Limits | None, patience_s: float, leave_hz: Limits | None = None) -> bool:
        """Sets `leave_w` and `leave_hz`, where that is not None, and ends. False if the driver does not let it."""
        with self._ordering():
            self._order, self._stopping = _Order(leave_w, leave_hz), True
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
            order, stopping = self._next_order()
            if order != _Order():
                self._perform(order)
            if stopping:
                return
            if self._silent:
                self._rest()  # the next order finds out whether the driver answers again
            else:
                self._read_power()

    def _next_order(self) -> tuple[_Order, bool]:
        with self._changed:
            if not self._may_act():
                return _Order(), False
            order, self._order = self._order, _Order()
            return order, self._stopping

    def _rest(self) -> None:
        with self._changed:
            self._changed.wait_for(self._may_act, READ_S)

    def _may_act(self) -> bool:
        return self._stopping or (self._order != _Order() and self._clock() >= self._rest_until_s)

    def _perform(self, order: _Order) -> None:
        """Limits first: they are what must hold."""
        try:
            if order.limits_w is not None or order.read:
                self._limits(order.limits_w)
            if order.clocks_hz is not None:
                self._put(ClocksLocked(order.clocks_hz, tuple(self._cards.lock_clocks(order.clocks_hz))))
        except (Hung, ChildFailed) as why:
            self._say_silent("set limits" if order.limits_w is not None else "read limits" if order.read else "lock clocks", why)
            return
        self._silent = False

    def _limits(self, to_set: Limits | None) -> None:
        if to_set is not None:
            self._say_refused(self._cards.set_limits(to_set))
        read = self._cards.limits()
        refused = tuple(self._refused) if any(self._refused) else ()
        self._put(LimitsRead(read, self._cards.driver_loads, to_set is not None, refused))

    def _read_power(self) -> None:
        try:
            power_w = self._cards.next_power_w(self._ordered)
            if power_w is not None and self._cards.limits_rose:  # told before the power, which may be what comes of it
                self._limits(None)
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
