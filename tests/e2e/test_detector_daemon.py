"""The detector as a process of its own, between real topics of Apache Kafka."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from services import kafka
from services.port import free_port

from gpuwarden.core.bus import Bus, BusConfig, Consumer
from gpuwarden.core.connect import connect
from gpuwarden.proto import topics
from gpuwarden.proto.catalogue import BY_NAME, Device
from gpuwarden.proto.encode import encode, encode_block
from gpuwarden.proto.finding_pb2 import Finding
from gpuwarden.proto.telemetry_pb2 import DeviceEvent

COMMAND = [sys.executable, "-m", "gpuwarden.cli"]
EVENTUALLY_S = 45.0


class Daemon:
    def __init__(self, folder: Path, bootstrap: str, group: str) -> None:
        self.port, self._log = free_port(), folder / "log"
        config = folder / "detector.toml"
        config.write_text(
            f'group = "{group}"\nmetrics_listen = "127.0.0.1:{self.port}"\nstale_s = 3\n[bus]\nbootstrap = ["{bootstrap}"]\n'
        )
        with self._log.open("ab") as out:
            self.process = subprocess.Popen([*COMMAND, "detector", "--config", str(config)], stderr=out, env=os.environ)

    def said(self) -> str:
        return self._log.read_text(encoding="utf-8")

    def metrics(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as page:
            return str(page.read().decode())

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str, str], Daemon]]:
    started = list[Daemon]()

    def one(bootstrap: str, group: str) -> Daemon:
        folder = tmp_path / str(len(started))
        folder.mkdir()
        started.append(Daemon(folder, bootstrap, group))
        return started[-1]

    yield one
    for daemon in started:
        if daemon.process.poll() is None:
            daemon.process.kill()
            daemon.process.wait()


def telemetry(node: str, sequence: int, *xids: int) -> bytes:
    events = [DeviceEvent(kind="xid", device_id="GPU-0", code=code) for code in xids]
    block = encode_block(Device.GPU, ["GPU-0"], [BY_NAME["gpu_power_watts"]], [[500.0]])
    return encode(node, "start", sequence, time.time_ns(), [block], events=events)


def wait_for(consumer: Consumer, key: str, enough: Callable[[list[bytes]], bool]) -> list[bytes]:
    """Values under a key, until they are enough."""
    end_s, values = time.monotonic() + EVENTUALLY_S, list[bytes]()
    while not enough(values):
        assert time.monotonic() < end_s, f"{len(values)} records under {key} after {EVENTUALLY_S} s"
        values += [r.value for r in consumer.poll(0.2, 1000) if r.key == key]
    return values


def findings_of(bus: Bus, node: str, device_id: str, count: int) -> list[Finding]:
    consumer = bus.consumer((topics.FINDINGS,), f"test-{node}-{count}")
    found = wait_for(consumer, f"{node}/{device_id}", lambda values: len(values) >= count)
    consumer.close()
    return [Finding.FromString(value) for value in found]


def test_from_telemetry_to_finding_through_kafka(kafka_broker: kafka.Broker, start: Callable[[str, str], Daemon]) -> None:
    bus = connect(BusConfig(bootstrap=(kafka_broker.bootstrap,)))
    producer = bus.producer()
    daemon = start(kafka_broker.bootstrap, "e2e-detector")
    producer.send(topics.TELEMETRY, "e2e-detector-a", telemetry("e2e-detector-a", 1, 79))
    producer.send(topics.TELEMETRY, "e2e-detector-a", b"\xff\xff")
    producer.flush(10)
    (finding,) = findings_of(bus, "e2e-detector-a", "GPU-0", 1)
    assert (finding.kind, finding.suggested_action[:14]) == ("xid_79", "Drain the node")
    letters = bus.consumer((topics.DEAD_LETTER,), "test-e2e-detector")
    told = wait_for(letters, topics.TELEMETRY, lambda values: any(b"e2e-detector-a" in v for v in values))
    letters.close()
    assert any(b"e2e-detector-a" in letter and b'"reason": "payload: ' in letter for letter in told)
    (silent,) = findings_of(bus, "e2e-detector-a", "", 1)
    assert silent.kind == "node_stale"
    assert "\ngpuwarden_detector_records_refused_total " in daemon.metrics()
    assert daemon.stop() == 0
    producer.close()


def test_a_detector_that_is_killed_loses_nothing(kafka_broker: kafka.Broker, start: Callable[[str, str], Daemon]) -> None:
    bus, node = connect(BusConfig(bootstrap=(kafka_broker.bootstrap,))), "e2e-detector-b"
    producer = bus.producer()
    first = start(kafka_broker.bootstrap, "e2e-detector-killed")
    producer.send(topics.TELEMETRY, node, telemetry(node, 1, 79))
    producer.flush(10)
    findings_of(bus, node, "GPU-0", 1)
    first.process.kill()
    first.process.wait()
    producer.send(topics.TELEMETRY, node, telemetry(node, 2, 48))
    producer.flush(10)
    second = start(kafka_broker.bootstrap, "e2e-detector-killed")
    found = findings_of(bus, node, "GPU-0", 2)
    assert {finding.kind for finding in found} == {"xid_79", "xid_48"}
    assert second.stop() == 0
    producer.close()


def test_without_kafka_it_waits_says_so_and_stops_when_told(start: Callable[[str, str], Daemon]) -> None:
    daemon = start(f"127.0.0.1:{free_port()}", "e2e-detector-waits")
    end_s = time.monotonic() + EVENTUALLY_S
    while "waiting for Kafka" not in daemon.said():
        assert time.monotonic() < end_s and daemon.process.poll() is None, daemon.said()
        time.sleep(0.1)
    assert daemon.stop() == 0
