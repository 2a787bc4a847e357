"""The loop of every daemon: events in order, actions in order, a failing action stops neither."""

import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

import gpuwarden.core.metrics  # noqa: F401 - what the loop counts shows there
from gpuwarden.core.eventlog import EventLog, read_steps
from gpuwarden.core.machine import Level, Say
from gpuwarden.core.plain import Reader
from gpuwarden.core.service import Inbox, Ticker, Unperformed, count_failures_of, serve, stop_on_signals


@dataclass(frozen=True, slots=True)
class Count:
    """An event."""

    number: int


@dataclass(frozen=True, slots=True)
class Echo:
    """An action."""

    number: int


class Echoer:
    """A machine that says and echoes each number, and its negative."""

    def step(self, now_s: float, event: Count) -> list[Echo | Say]:
        return [Say(f"got {event.number}", Level.WARNING), Echo(event.number), Echo(-event.number)]


def metric(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def run(numbers: range, events: EventLog | None = None) -> list[int]:
    """Serves these events to the end; the actions that were performed. That of number 2 fails."""
    inbox: Inbox[Count] = Inbox(100)
    for number in numbers:
        inbox.put(Count(number))
    stop, performed = threading.Event(), list[int]()
    stop.set()

    def note(action: Echo | Say) -> None:
        assert isinstance(action, Echo)
        if action.number == 2:
            raise ValueError("two is not to be had")
        if action.number == 6:
            raise Unperformed
        performed.append(action.number)

    serve(Echoer(), inbox, note, iter(range(100)).__next__, stop, events)
    return performed


def test_events_that_wait_at_the_stop_are_still_decided_in_order() -> None:
    assert run(range(3, 6)) == [3, -3, 4, -4, 5, -5]


def test_an_action_that_fails_ends_its_own_list_and_no_other(caplog: pytest.LogCaptureFixture) -> None:
    before = metric("gpuwarden_action_failed_total", action="Echo")
    assert run(range(1, 4)) == [1, -1, 3, -3]
    assert metric("gpuwarden_action_failed_total", action="Echo") - before == 1
    assert "Echo failed" in caplog.text and "two is not to be had" in caplog.text


def test_an_action_whose_failure_the_machine_knows_of_ends_its_list_without_a_word_and_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    before = metric("gpuwarden_action_failed_total", action="Echo")
    assert run(range(5, 8)) == [5, -5, 7, -7]
    assert metric("gpuwarden_action_failed_total", action="Echo") - before == 1
    assert "failed" not in caplog.text


def test_a_sentence_goes_to_the_log_at_its_level(caplog: pytest.LogCaptureFixture) -> None:
    run(range(7, 8))
    assert ("gpuwarden", logging.WARNING, "got 7") in caplog.record_tuples


def test_of_events_with_the_same_key_the_newest_waits_in_the_place_of_the_first() -> None:
    inbox: Inbox[Count] = Inbox(3, lambda count: count.number % 10 or None)
    assert all(inbox.offer(Count(number)) for number in (1, 2, 11, 10))
    assert not inbox.offer(Count(3)) and not inbox.offer(Count(20))
    assert inbox.offer(Count(21))
    assert [inbox.take(0.0) for _ in range(4)] == [Count(21), Count(2), Count(10), None]
    assert inbox.offer(Count(31)) and inbox.offer(Count(3))
    assert [inbox.take(0.0) for _ in range(3)] == [Count(31), Count(3), None]


def test_a_decider_that_is_behind_has_one_tick_waiting_however_many_are_due() -> None:
    inbox: Inbox[Count] = Inbox(3)
    assert inbox.offer_alone(Count(1)) and inbox.offer(Count(2)) and not inbox.offer_alone(Count(3))
    assert inbox.take(0.0) == Count(1)
    assert inbox.offer_alone(Count(4)) and not inbox.offer_alone(Count(5))
    assert [inbox.take(0.0), inbox.take(0.0), inbox.take(0.0)] == [Count(2), Count(4), None]


def test_a_tick_that_finds_no_room_does_not_keep_the_next_one_out() -> None:
    inbox: Inbox[Count] = Inbox(1)
    assert inbox.offer(Count(1)) and not inbox.offer_alone(Count(2))
    assert inbox.take(0.0) == Count(1) and inbox.offer_alone(Count(3))


def test_every_step_is_in_the_event_log(tmp_path: Path) -> None:
    log = EventLog(tmp_path, "echoer", "n1", None)
    run(range(3, 6), events=log)
    log.close()
    assert [(step.now_s, step.event) for step in read_steps(log.path, Reader([Count]))] == [
        (0.0, Count(3)), (1.0, Count(4)), (2.0, Count(5)),
    ]  # fmt: skip


def test_a_full_inbox_refuses_an_offer_and_makes_a_put_wait() -> None:
    inbox: Inbox[Count] = Inbox(2)
    assert inbox.offer(Count(1)) and inbox.offer(Count(2)) and not inbox.offer(Count(3))
    putter = threading.Thread(target=inbox.put, args=(Count(4),))
    putter.start()
    putter.join(0.1)
    assert putter.is_alive()
    assert [inbox.take(1.0), inbox.take(1.0), inbox.take(1.0)] == [Count(1), Count(2), Count(4)]
    putter.join()
    assert inbox.take(0.01) is None


def test_a_ticker_ticks_at_its_period() -> None:
    inbox: Inbox[Count] = Inbox(100)
    ticker = Ticker(0.02, lambda: Count(1), inbox, time.monotonic)
    end_s, taken = time.monotonic() + 0.5, 0
    while (left_s := end_s - time.monotonic()) > 0:
        taken += inbox.take(left_s) is not None
    ticker.close()
    assert 10 <= taken <= 27


def test_ticks_that_find_one_waiting_are_left_out_and_counted() -> None:
    inbox: Inbox[Count] = Inbox(100)
    before, due = metric("gpuwarden_loop_late_total"), metric("gpuwarden_loop_ticks_total")
    ticker = Ticker(0.01, lambda: Count(1), inbox, time.monotonic)
    time.sleep(0.3)
    ticker.close()
    assert len(inbox) == 1
    late = metric("gpuwarden_loop_late_total") - before
    assert late >= 5 and metric("gpuwarden_loop_ticks_total") - due == late + len(inbox)


def test_a_clock_that_jumps_ahead_makes_no_burst_of_ticks() -> None:
    inbox: Inbox[Count] = Inbox(1000)
    jump_s = [0.0]
    ticker = Ticker(0.05, lambda: Count(1), inbox, lambda: time.monotonic() + jump_s[0])
    jump_s[0], taken = 3600.0, 0
    end_s = time.monotonic() + 0.3
    while (left_s := end_s - time.monotonic()) > 0:
        taken += inbox.take(left_s) is not None
    ticker.close()
    assert taken < 12


@pytest.fixture
def signals() -> Iterator[None]:
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, was in kept.items():
        signal.signal(number, was)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_sets_the_stop(signals: None, number: signal.Signals) -> None:
    stop = stop_on_signals()
    os.kill(os.getpid(), number)
    assert stop.wait(5.0)


def test_failures_of_every_action_are_counted_from_0() -> None:
    @dataclass
    class Jump:
        pass

    count_failures_of(Echo | Jump)
    assert metric("gpuwarden_action_failed_total", action="Jump") == 0
