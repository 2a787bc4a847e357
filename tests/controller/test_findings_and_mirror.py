"""What comes from the bus and what goes onto it: in order, committed only when done, and nothing waits for a bus that is not there."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from gpuwarden.controller.actuators.mirror import Mirror
from gpuwarden.controller.events import Action, Event, FindingArrived, Tick
from gpuwarden.controller.findings import GROUP, Findings, Through
from gpuwarden.controller.ledger import Ledger
from gpuwarden.core.bus import Bus, BusError
from gpuwarden.core.bus_memory import MemoryBus
from gpuwarden.proto import topics
from gpuwarden.proto.control_pb2 import Action as Line
from gpuwarden.proto.finding_pb2 import Finding, FindingState


class Recorder:
    """A machine that only notes its events."""

    def __init__(self) -> None:
        self.seen: list[Event] = []

    def step(self, now_s: float, event: Event) -> list[Action]:
        self.seen.append(event)
        return []


def wait_for(true: Callable[[], bool]) -> None:
    until_s = time.monotonic() + 10
    while not true():
        assert time.monotonic() < until_s
        time.sleep(0.01)


def send(bus: Bus, topic: str, count: int) -> None:
    with closing(bus.producer()) as producer:
        for number in range(count):
            producer.send(topic, "n0", b"%d" % number)


def unread(bus: Bus) -> list[bytes]:
    with closing(bus.consumer([topics.FINDINGS], GROUP)) as consumer:
        return [record.value for record in consumer.poll(0.05, 1000)]


@pytest.fixture
def stop() -> Iterator[threading.Event]:
    made = threading.Event()
    yield made
    made.set()


def test_findings_reach_the_machine_in_order_and_are_committed_once_it_is_through(stop: threading.Event) -> None:
    bus, machine, offered = MemoryBus(), Recorder(), list[Event]()
    through = Through(machine)
    send(bus, topics.FINDINGS, 250)
    findings = Findings(lambda stop: bus, lambda event: not offered.append(event), through, stop)
    wait_for(lambda: len(offered) == 100)
    for event in offered[:100]:
        through.step(0.0, event)
    time.sleep(0.3)
    assert len(offered) == 100, "the last one's actions may still be under way: the next step tells"
    through.step(0.0, Tick(1))
    wait_for(lambda: len(offered) == 200)
    stop.set()
    findings.join()
    assert [event for event in machine.seen if not isinstance(event, Tick)] == [FindingArrived(b"%d" % n) for n in range(100)]
    assert unread(bus) == [b"%d" % n for n in range(100, 250)]


def finding(id: str, firing: bool = True) -> bytes:
    state = FindingState.FINDING_STATE_FIRING if firing else FindingState.FINDING_STATE_RESOLVED
    return Finding(version=1, id=id, kind="xid_79", state=state).SerializeToString()


def test_a_controller_that_starts_hears_first_of_what_still_fires_though_another_has_committed_past_it(stop: threading.Event) -> None:
    bus, machine = MemoryBus(), Recorder()
    through = Through(machine)
    with closing(bus.producer()) as producer, closing(bus.consumer([topics.FINDINGS], GROUP)) as before:
        for payload in (finding("f1"), finding("f2"), finding("f2", firing=False), finding("f3")):
            producer.send(topics.FINDINGS, "n0", payload)
        before.commit({(record.topic, record.partition): record.offset + 1 for record in before.poll(1.0, 100)})
    send(bus, topics.FINDINGS, 1)
    findings = Findings(lambda stop: bus, lambda event: through.step(0.0, event) == [], through, stop)
    wait_for(lambda: len(machine.seen) == 3)
    assert machine.seen == [FindingArrived(finding("f1")), FindingArrived(finding("f3")), FindingArrived(b"0")]
    through.step(0.0, Tick(1))
    wait_for(lambda: unread(bus) == [])
    stop.set()
    findings.join()


def test_a_full_inbox_holds_the_findings_back_and_loses_none(stop: threading.Event) -> None:
    bus, machine, has_room = MemoryBus(), Recorder(), threading.Event()
    through = Through(machine)
    send(bus, topics.FINDINGS, 3)
    refused = list[Event]()

    def offer(event: Event) -> bool:
        if not has_room.is_set():
            refused.append(event)
            return False
        through.step(0.0, event)
        return True

    findings = Findings(lambda stop: bus, offer, through, stop)
    wait_for(lambda: len(refused) >= 3)
    assert set(refused) == {FindingArrived(b"0")}
    has_room.set()
    wait_for(lambda: len(machine.seen) == 3)
    through.step(0.0, Tick(1))
    wait_for(lambda: unread(bus) == [])
    stop.set()
    findings.join()


def test_a_bus_that_is_not_there_yet_is_waited_for(stop: threading.Event, caplog: pytest.LogCaptureFixture) -> None:
    bus, machine = MemoryBus(), Recorder()
    through, tries = Through(machine), list[int]()
    send(bus, topics.FINDINGS, 1)

    def connect(stop: threading.Event) -> Bus:
        tries.append(1)
        if len(tries) < 3:
            raise BusError("127.0.0.1:1: nobody is there")
        return bus

    findings = Findings(connect, lambda event: through.step(0.0, event) == [], through, stop)
    wait_for(lambda: machine.seen == [FindingArrived(b"0")])
    stop.set()
    findings.join()
    assert caplog.messages.count("findings: 127.0.0.1:1: nobody is there") == 2


def test_every_ledger_line_is_mirrored_in_order_and_a_restart_goes_on_where_it_was(
    ledger: Ledger, stop: threading.Event
) -> None:
    bus = MemoryBus()
    consumer = bus.consumer([topics.ACTIONS], "test")
    lines = list[Line]()

    def append(first: int, count: int) -> None:
        made = (Line(kind="cap", subject="n0", reason=str(n)).SerializeToString() for n in range(first, first + count))
        ledger.append(list(made), 7)

    def read(count: int) -> None:
        until_s = time.monotonic() + 10
        while len(lines) < count and time.monotonic() < until_s:
            lines.extend(Line.FromString(record.value) for record in consumer.poll(0.1, 1000))

    append(0, 1200)
    mirror = Mirror(lambda stop: bus, ledger, stop)
    read(1200)
    append(1200, 5)
    read(1205)
    wait_for(lambda: ledger.mirrored() == 1205)
    stop.set()
    mirror.join()
    again = threading.Event()
    append(1205, 2)
    mirror = Mirror(lambda stop: bus, ledger, again)
    read(1207)
    again.set()
    mirror.join()
    assert [line.reason for line in lines] == [str(n) for n in range(1207)]
    assert (lines[0].id, lines[0].unix_ns) == (1, 7)


def test_a_bus_that_is_away_at_first_gets_the_lines_later(ledger: Ledger, stop: threading.Event) -> None:
    bus = MemoryBus()
    consumer = bus.consumer([topics.ACTIONS], "test")
    ledger.append([Line(kind="cap", subject="n0").SerializeToString()], 7)
    tries = list[int]()

    def connect(stop: threading.Event) -> Bus:
        tries.append(1)
        if len(tries) == 1:
            raise BusError("away")
        return bus

    mirror = Mirror(connect, ledger, stop)
    assert len(consumer.poll(5.0, 10)) == 1
    wait_for(lambda: ledger.mirrored() == 1)
    stop.set()
    mirror.join()


def test_a_line_that_is_too_large_for_the_bus_does_not_hold_up_the_others(
    ledger: Ledger, stop: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    bus = MemoryBus()
    consumer = bus.consumer([topics.ACTIONS], "test")
    for reason in ("x" * 1_000_001, "small"):
        ledger.append([Line(kind="notify", reason=reason).SerializeToString()], 7)
    mirror = Mirror(lambda stop: bus, ledger, stop)
    wait_for(lambda: ledger.mirrored() == 2)
    stop.set()
    mirror.join()
    assert [Line.FromString(record.value).reason for record in consumer.poll(0.5, 10)] == ["small"]
    assert "ledger line 1 stays in the ledger alone: " in caplog.text
