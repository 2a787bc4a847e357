"""The daemon's edges on the in-process bus: what is committed is durable, what is refused is kept, what is counted is shown."""

import json
import threading
import time
from base64 import b64decode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from gpuwarden.core.bus import BusConfig, BusError, OnDone
from gpuwarden.core.bus_memory import MemoryBus
from gpuwarden.core.config import ConfigError, load, parse
from gpuwarden.core.eventlog import read_head, read_steps, replay
from gpuwarden.core.plain import Reader, to_plain
from gpuwarden.detector.config import DetectorConfig
from gpuwarden.detector.events import Commit, Moved, Polled, PublishFinding, Raw, Tick
from gpuwarden.detector.machine import Detector
from gpuwarden.detector.main import detect
from gpuwarden.detector.metrics import DetectorNumbers
from gpuwarden.detector.outlet import Outlet
from gpuwarden.proto import topics
from gpuwarden.proto.finding_pb2 import Finding
from gpuwarden.proto.telemetry_pb2 import DeviceEvent

CONFIG = DetectorConfig(BusConfig("memory"))
EXAMPLE = Path(__file__).parents[2] / "deploy" / "examples" / "detector.toml"


def eventually(true: Callable[[], bool]) -> None:
    end_s = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end_s, "not within 10 s"
        time.sleep(0.01)


@pytest.fixture
def detecting() -> Iterator[tuple[MemoryBus, Detector]]:
    bus, detector, stop = MemoryBus(), Detector(CONFIG.setup), threading.Event()
    thread = threading.Thread(target=detect, args=(bus, CONFIG, CONFIG.setup, detector, stop, None))
    thread.start()
    yield bus, detector
    stop.set()
    thread.join(10)
    assert not thread.is_alive()


def test_from_telemetry_to_findings_and_dead_letters(detecting: tuple[MemoryBus, Detector], agent: Any) -> None:
    bus, detector = detecting
    producer = bus.producer()
    out = bus.consumer((topics.FINDINGS, topics.DEAD_LETTER), "test")
    xid = DeviceEvent(kind="xid", device_id="GPU-1", code=79)
    producer.send(topics.TELEMETRY, "gpu01", b"noise")
    producer.send(topics.TELEMETRY, "gpu01", agent.record(events=[xid]))
    got = {}
    eventually(lambda: got.update({r.topic: r for r in out.poll(0.1, 10)}) or len(got) == 2)
    assert Finding.FromString(got[topics.FINDINGS].value).kind == "xid_79"
    letter = json.loads(got[topics.DEAD_LETTER].value)
    assert (letter["key"], b64decode(letter["payload_base64"])) == ("gpu01", b"noise")
    assert letter["reason"].startswith("payload: ")
    assert detector.samples_judged == 1


def test_what_was_judged_is_not_read_again_by_the_next_detector(agent: Any, tmp_path: Path) -> None:
    bus = MemoryBus()
    bus.producer().send(topics.TELEMETRY, "gpu01", agent.record())
    for judged in (1, 0):
        detector, stop = Detector(CONFIG.setup), threading.Event()
        thread = threading.Thread(target=detect, args=(bus, CONFIG, CONFIG.setup, detector, stop, None))
        thread.start()
        eventually(lambda d=detector, j=judged: d.samples_judged == j)
        time.sleep(0.3)
        stop.set()
        thread.join(10)
        assert detector.samples_judged == judged


def test_an_event_log_replays_to_the_same_findings(agent: Any, tmp_path: Path) -> None:
    bus, detector, stop = MemoryBus(), Detector(CONFIG.setup), threading.Event()
    bus.producer().send(topics.TELEMETRY, "gpu01", agent.record({("GPU-2", "gpu_row_remap_failure"): 1.0}))
    thread = threading.Thread(target=detect, args=(bus, CONFIG, CONFIG.setup, detector, stop, tmp_path))
    thread.start()
    eventually(lambda: detector.findings_firing == 1)
    stop.set()
    thread.join(10)
    log = tmp_path / "detector-gpuwarden-detector.jsonl"
    assert read_head(log) == ("detector", to_plain(CONFIG.setup))
    replayed = list(replay(read_steps(log, Reader((Moved, Polled, Raw, Tick))), lambda: Detector(CONFIG.setup)))
    assert all(step.same for step in replayed)
    assert any(isinstance(action, PublishFinding) for step in replayed for action in step.actions)


class Flaky:
    """A producer in front of the in-process bus whose first `failures` flushes fail, and lose what was sent since the last."""

    def __init__(self, bus: MemoryBus, failures: int) -> None:
        self._inner, self._failures = bus.producer(), failures
        self._waiting: list[tuple[str, str, bytes]] = []

    def send(self, topic: str, key: str, value: bytes, on_done: OnDone | None = None) -> None:
        self._waiting.append((topic, key, value))

    def flush(self, timeout_s: float) -> None:
        waiting, self._waiting = self._waiting, []
        if self._failures:
            self._failures -= 1
            raise BusError("broker is away")
        for record in waiting:
            self._inner.send(*record)

    def close(self) -> None:
        self._inner.close()


def test_offsets_wait_for_findings_that_brokers_have_not_taken_and_those_are_sent_again() -> None:
    bus = MemoryBus()
    reader = bus.consumer((topics.TELEMETRY,), "g")
    outlet = Outlet(Flaky(bus, 2), reader, threading.Event())
    outlet.perform(PublishFinding("n/", b"finding"))
    outlet.perform(Commit({(topics.TELEMETRY, 0): 1}))
    assert [r.value for r in bus.consumer((topics.FINDINGS,), "test").poll(0.1, 10)] == [b"finding"]


def test_what_is_durable_is_not_sent_again() -> None:
    bus = MemoryBus()
    producer = Flaky(bus, 0)
    outlet = Outlet(producer, bus.consumer((topics.TELEMETRY,), "g"), threading.Event())
    outlet.perform(PublishFinding("n/", b"first"))
    outlet.perform(Commit({(topics.TELEMETRY, 0): 1}))
    producer._failures = 1
    outlet.perform(PublishFinding("n/", b"second"))
    outlet.perform(Commit({(topics.TELEMETRY, 0): 2}))
    assert [r.value for r in bus.consumer((topics.FINDINGS,), "test").poll(0.1, 10)] == [b"first", b"second"]


def test_a_detector_that_is_stopped_while_brokers_are_away_commits_nothing() -> None:
    bus, stop = MemoryBus(), threading.Event()
    bus.producer().send(topics.TELEMETRY, "n", b"unread")
    reader = bus.consumer((topics.TELEMETRY,), "g")
    (record,) = reader.poll(0.1, 10)
    stop.set()
    outlet = Outlet(Flaky(bus, 99), reader, stop)
    outlet.perform(PublishFinding("n/", b"finding"))
    with pytest.raises(BusError, match="1 findings, summaries and dead letters that are not durable"):
        outlet.perform(Commit({(record.topic, record.partition): record.offset + 1}))
    reader.close()
    assert len(bus.consumer((topics.TELEMETRY,), "g").poll(0.1, 10)) == 1


def test_its_numbers_are_those_of_the_machine(story: Any, agent: Any) -> None:
    story.send(agent.record(), b"noise")
    registry = CollectorRegistry()
    registry.register(DetectorNumbers(story.detector))
    page = generate_latest(registry).decode()
    assert "gpuwarden_detector_samples_judged_total 1.0\n" in page
    assert "gpuwarden_detector_records_refused_total 1.0\n" in page
    assert "gpuwarden_detector_nodes 1.0\n" in page


def test_the_example_is_a_good_configuration() -> None:
    assert load(EXAMPLE, DetectorConfig).setup == Detector(CONFIG.setup)._setup


def test_a_configuration_that_cannot_be_is_refused_with_every_reason() -> None:
    with pytest.raises(ConfigError) as refused:
        parse({"bus": {"kind": "memory"}, "stale_s": 1, "max_nodes": 0, "metrics_listen": "0.0.0.0:1"}, DetectorConfig)
    assert str(refused.value).splitlines() == [
        "config: metrics_listen: is 0.0.0.0:1, should be a loopback address such as 127.0.0.1 where there is no tls_dir",
        "config: stale_s: is 1, should be 2 (telemetry comes once a second) to forget_s (86400)",
        "config: max_nodes: is 0, should be 1 or more",
    ]
