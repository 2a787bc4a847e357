"""The limiter's driver thread: reads and sets, and the machine hears from it even while the driver does not answer."""

import math
import queue
import select
import threading
import time
from collections.abc import Iterator

import pytest

from gpuwarden.agent.child import Hung
from gpuwarden.agent.limiter.card import CardState
from gpuwarden.agent.limiter.driver import Driver
from gpuwarden.agent.limiter.events import ClocksLocked, DriverHung, Event, LimitsRead, PowerRead


class Plant:
    """Two cards in memory. While `answers` is cleared every call waits, and gives up after `deadline_s`."""

    driver_loads = 1
    limits_rose = False

    def __init__(self) -> None:
        self.limits_w, self.clocks_hz = (700.0, 700.0), (0.0, 0.0)
        self.answers = threading.Event()
        self.answers.set()
        self.deadline_s = 0.5
        self.calls = 0

    def _wait(self) -> None:
        self.calls += 1
        if not self.answers.wait(self.deadline_s):
            raise Hung("no answer")

    def next_power_w(self, interrupt: int) -> tuple[float, ...] | None:
        if select.select([interrupt], [], [], 0.1)[0]:
            return None
        self._wait()
        return (300.0, 301.0)

    def limits(self) -> tuple[CardState, ...]:
        self._wait()
        self.limits_rose = False
        return tuple(CardState(w, w) for w in self.limits_w)

    def set_limits(self, limits_w: tuple[float, ...]) -> tuple[str, ...]:
        self._wait()
        self.limits_w = limits_w
        return ("",) * len(limits_w)

    def lock_clocks(self, clocks_hz: tuple[float, ...]) -> tuple[str, ...]:
        self._wait()
        self.clocks_hz = clocks_hz
        return ("", "not supported")


@pytest.fixture
def plant() -> Plant:
    return Plant()


@pytest.fixture
def told() -> "queue.Queue[Event]":
    return queue.Queue()


@pytest.fixture
def driver(plant: Plant, told: "queue.Queue[Event]") -> Iterator[Driver]:
    made = Driver(plant, 2, told.put, time.monotonic)
    yield made
    plant.answers.set()
    assert made.close(None, 5.0)


def heard(told: "queue.Queue[Event]", seconds: float) -> list[Event]:
    time.sleep(seconds)
    return [told.get_nowait() for _ in range(told.qsize())]


def first(told: "queue.Queue[Event]", kind: type[Event]) -> Event:
    while not isinstance(event := told.get(timeout=5.0), kind):
        pass
    return event


def test_power_is_read_ten_times_a_second(driver: Driver, told: "queue.Queue[Event]") -> None:
    events = heard(told, 1.0)
    assert set(events) == {PowerRead((300.0, 301.0))}
    assert 8 <= len(events) <= 12


def test_what_was_set_is_read_back(driver: Driver, plant: Plant, told: "queue.Queue[Event]") -> None:
    driver.set_limits((400.0, 300.0))
    assert first(told, LimitsRead) == LimitsRead((CardState(400.0, 400.0), CardState(300.0, 300.0)), 1, ordered=True)
    driver.read_limits()
    assert first(told, LimitsRead) == LimitsRead((CardState(400.0, 400.0), CardState(300.0, 300.0)), 1, ordered=False)


def test_a_limit_that_rose_is_read_and_told_before_the_power_that_may_come_of_it(
    driver: Driver, plant: Plant, told: "queue.Queue[Event]"
) -> None:
    heard(told, 0.3)
    plant.limits_w, plant.limits_rose = (700.0, 300.0), True
    events = heard(told, 0.5)
    (place,) = (place for place, event in enumerate(events) if isinstance(event, LimitsRead))
    assert events[place] == LimitsRead((CardState(700.0, 700.0), CardState(300.0, 300.0)), 1, ordered=False)
    assert isinstance(events[place + 1], PowerRead)


def test_while_the_driver_hangs_the_machine_gets_its_ticks_and_few_calls_are_tried(
    driver: Driver, plant: Plant, told: "queue.Queue[Event]"
) -> None:
    plant.answers.clear()
    calls = plant.calls
    driver.read_limits()
    events = heard(told, 2.5)
    nothing = [e for e in events if isinstance(e, PowerRead) and all(map(math.isnan, e.power_w))]
    assert len(nothing) >= 15
    assert any(isinstance(e, DriverHung) for e in events)
    assert plant.calls - calls <= 3


def test_a_driver_that_answers_again_is_read_again(driver: Driver, plant: Plant, told: "queue.Queue[Event]") -> None:
    plant.answers.clear()
    first(told, DriverHung)
    plant.answers.set()
    driver.read_limits()
    assert isinstance(first(told, LimitsRead), LimitsRead)
    heard(told, 0.2)
    assert PowerRead((300.0, 301.0)) in heard(told, 0.5)


def test_the_newest_limits_are_set_when_a_driver_answers_again(driver: Driver, plant: Plant, told: "queue.Queue[Event]") -> None:
    plant.answers.clear()
    first(told, DriverHung)
    driver.set_limits((600.0, 600.0))
    driver.set_limits((200.0, 200.0))
    plant.answers.set()
    first(told, LimitsRead)
    assert plant.limits_w == (200.0, 200.0)


def test_closing_leaves_the_limits_that_it_is_given(plant: Plant) -> None:
    driver = Driver(plant, 2, lambda event: None, time.monotonic)
    assert driver.close((200.0, 210.0), 5.0)
    assert plant.limits_w == (200.0, 210.0)


def test_closing_does_not_wait_for_a_driver_that_hangs(plant: Plant) -> None:
    driver = Driver(plant, 2, lambda event: None, time.monotonic)
    plant.deadline_s = 30.0
    plant.answers.clear()
    assert not driver.close((200.0, 200.0), 0.3)
    plant.answers.set()


def test_locks_are_ordered_beside_limits_and_what_cards_say_is_told(driver: Driver, plant: Plant, told: "queue.Queue[Event]") -> None:
    driver.lock_clocks((1.56e9, 1.2e9))
    driver.set_limits((400.0, 400.0))
    driver.lock_clocks((1.56e9, 1.56e9))
    events = heard(told, 0.5)
    assert [event for event in events if isinstance(event, ClocksLocked)][-1] == ClocksLocked((1.56e9, 1.56e9), ("", "not supported"))
    assert plant.limits_w == (400.0, 400.0) and plant.clocks_hz == (1.56e9, 1.56e9)


def test_locks_are_taken_back_at_the_end(plant: Plant, told: "queue.Queue[Event]") -> None:
    driver = Driver(plant, 2, told.put, time.monotonic)
    assert driver.close((200.0, 200.0), 5.0, (0.0, 0.0))
    assert plant.limits_w == (200.0, 200.0) and plant.clocks_hz == (0.0, 0.0)
