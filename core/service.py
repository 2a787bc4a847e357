"""The loop of every daemon: one bounded inbox, one decider, actions performed in order."""

import gc
import logging
import queue
import signal
import threading
from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from types import FrameType
from typing import ClassVar, Final, Generic, TypeVar, get_args

from gpuwarden.core.eventlog import EventLog
from gpuwarden.core.log import say
from gpuwarden.core.machine import Machine, Say

E = TypeVar("E")
A = TypeVar("A")
Clock = Callable[[], float]

GARBAGE_OBJECTS: Final = 100_000  # more than a decision makes, or a poll of 2,000 samples
IDLE_S: Final = 0.25  # a watchdog of 1 s is told of a turn every 0.5 s; every waking costs

FAILED: Final[Counter[str]] = Counter()
"""Actions that raised, by name. `core.metrics` shows these two: the limiter has no use for its library."""

_log = logging.getLogger("gpuwarden.service")


class Unperformed(Exception):
    """An action that was not done. Whoever raises it has told the machine, which says what follows from that."""


def spare_garbage_collection() -> None:
    """What is here by now stays, and what a decision makes ends with it: to look through either for garbage would hold a decision up."""
    gc.freeze()
    gc.set_threshold(GARBAGE_OBJECTS)


def count_failures_of(actions: object) -> None:
    """From 0, for every one of this union: a counter that is born with its first failure shows no increase."""
    for action in get_args(actions):
        FAILED.setdefault(action.__name__, 0)


@dataclass(frozen=True, slots=True)
class _Newest:
    """Stands in the queue for the newest event with this key."""

    key: Hashable


class Inbox(Generic[E]):
    """A bounded queue of events. Edges put from any thread; the decider alone takes.

    Of events for which `key` has the same answer, None apart, only the newest waits, in the place of the first: a decider that is behind
    has nothing from a reading that another one has replaced.
    """

    def __init__(self, limit: int, key: Callable[[E], Hashable] = lambda event: None) -> None:
        self._events: queue.Queue[E | _Newest] = queue.Queue(limit)
        self._key, self._newest, self._lock = key, dict[Hashable, E](), threading.Lock()
        self._alone: E | None = None

    def put(self, event: E) -> None:
        """Waits for room: for edges whose source can wait, such as Kafka."""
        self._events.put(event)

    def offer(self, event: E) -> bool:
        """False if there is no room: for edges whose source will say it again, such as a report or a tick."""
        if (key := self._key(event)) is None:
            return self._put_now(event)
        with self._lock:
            if key in self._newest or self._put_now(_Newest(key)):
                self._newest[key] = event
                return True
        return False

    def _put_now(self, event: E | _Newest) -> bool:
        try:
            self._events.put_nowait(event)
        except queue.Full:
            return False
        return True

    def offer_alone(self, event: E) -> bool:
        """False also while the last one that was offered so still waits: a decider that is behind has nothing from a second tick. For one thread."""
        if self._alone is not None:
            return False
        self._alone = event
        if not self.offer(event):
            self._alone = None
        return self._alone is not None

    def take(self, timeout_s: float) -> E | None:
        try:
            event = self._events.get(timeout=timeout_s)
        except queue.Empty:
            return None
        if event is self._alone:
            self._alone = None
        return self._newest_for(event) if isinstance(event, _Newest) else event

    def _newest_for(self, place: _Newest) -> E:
        with self._lock:
            return self._newest.pop(place.key)

    def __len__(self) -> int:
        return self._events.qsize()


def serve(
    machine: Machine[E, A],
    inbox: Inbox[E],
    perform: Callable[[A], None],
    clock: Clock,
    stop: threading.Event,
    events: EventLog | None = None,
    turned: Callable[[], object] = lambda: None,
) -> None:
    """Runs until `stop` is set and the inbox is empty. `clock` is the machine's.

    `turned` is called before every step, and every IDLE_S while there is nothing to do.
    """
    while (event := inbox.take(0.0 if stop.is_set() else IDLE_S)) is not None or not stop.is_set():
        turned()
        if event is None:
            continue
        now_s = clock()
        actions = machine.step(now_s, event)
        if events is not None:
            events.write(now_s, event, actions)
        _perform_in_order(actions, perform)


def _perform_in_order(actions: list[A], perform: Callable[[A], None]) -> None:
    """An action that fails ends its list: what follows may rest on it. Machines say again what they still want."""
    for action in actions:
        if isinstance(action, Say):
            say(action)
            continue
        try:
            perform(action)
        except Unperformed:
            FAILED[type(action).__name__] += 1
            return
        except Exception:  # noqa: BLE001 - the one boundary around an action: the daemon goes on
            FAILED[type(action).__name__] += 1
            _log.exception("%s failed; the actions after it in this step are left out", type(action).__name__)
            return


class Ticker:
    """Puts `make_event()` into the inbox every `period_s`; a tick that finds the one before it waiting, or no room, is left out and counted."""

    due: ClassVar[int] = 0  # of this process
    late: ClassVar[int] = 0  # of those, left out

    def __init__(self, period_s: float, make_event: Callable[[], E], inbox: Inbox[E], clock: Clock) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(period_s, make_event, inbox, clock), name="ticker", daemon=True)
        self._thread.start()

    def _run(self, period_s: float, make_event: Callable[[], E], inbox: Inbox[E], clock: Clock) -> None:
        due_s = clock()
        while not self._stop.wait(max(0.0, due_s - clock())):
            if not inbox.offer_alone(make_event()):
                Ticker.late += 1
            missed = max(0, int((clock() - due_s) / period_s))
            Ticker.due += 1 + missed
            Ticker.late += missed
            due_s += period_s * (missed + 1)

    def close(self) -> None:
        self._stop.set()
        self._thread.join()


def stop_on_signals() -> threading.Event:
    """An event that SIGTERM and SIGINT set. Call it in the main thread."""
    stop = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    return stop
