"""From a recorded history to a finding: `gpuwarden train`, then a detector between real topics of Apache Kafka, and a fan that fails."""

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fakes.fan_node import FIRST, FanNode, recorded
from services import kafka
from services.port import free_port

from gpuwarden.cli.main import main
from gpuwarden.core.bus import BusConfig, Consumer, Producer
from gpuwarden.core.connect import connect
from gpuwarden.proto import topics
from gpuwarden.proto.finding_pb2 import Finding

TAUGHT, SLOW, END = 2880, 2880 + 12, 2880 + 22
WELL, ILL = "e2e-health-well", "e2e-health-ill"
EVENTUALLY_S = 60.0
WARM_MINUTES = 6  # of a node, which only begin its past


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    """With a live model of both nodes."""
    folder = tmp_path / "models"
    recorded(tmp_path / "history", FanNode(WELL), FanNode(ILL), minutes=TAUGHT)
    until = f"{datetime.fromtimestamp(60 * (FIRST + TAUGHT), UTC):%Y-%m-%dT%H:%M}"
    assert main(["train", "--past", f"parquet:{tmp_path / 'history'}", "--until", until, "--registry", str(folder), "--promote"]) == 0
    return folder


@pytest.fixture
def detector(tmp_path: Path, kafka_broker: kafka.Broker, registry: Path) -> Iterator[Callable[[], str]]:
    """Runs, and has its model. Gives its metrics."""
    port, log, config = free_port(), tmp_path / "log", tmp_path / "detector.toml"
    config.write_text(
        f'group = "e2e-health"\nmetrics_listen = "127.0.0.1:{port}"\n[bus]\nbootstrap = ["{kafka_broker.bootstrap}"]\n[health]\nregistry = "{registry}"\n'
    )
    with log.open("ab") as out:
        process = subprocess.Popen([sys.executable, "-m", "gpuwarden.cli", "detector", "--config", str(config)], stderr=out, env=os.environ)
    try:
        _until(lambda: "health: the live model is" in log.read_text(), lambda: log.read_text())
        yield lambda: str(urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5).read().decode())
    finally:
        process.terminate()
        assert process.wait(20) == 0, log.read_text()


def _until(so: Callable[[], bool], said: Callable[[], str]) -> None:
    end_s = time.monotonic() + EVENTUALLY_S
    while not so():
        assert time.monotonic() < end_s, said()
        time.sleep(0.1)


def test_a_node_whose_fan_fails_is_found_through_kafka_and_its_neighbour_is_not(kafka_broker: kafka.Broker, detector: Callable[[], str]) -> None:
    bus = connect(BusConfig(bootstrap=(kafka_broker.bootstrap,)))
    producer, consumer = bus.producer(), bus.consumer((topics.FINDINGS,), "test-e2e-health")
    for name, slow in ((WELL, False), (ILL, True)):
        _send(producer, FanNode(name, 2, "b"), slow)
    found = list[Finding]()
    _until(lambda: _found(consumer, found), lambda: f"{[(one.subject.node, one.kind) for one in found]}\n{detector()}")
    (unlike,) = (one for one in found if one.kind == "node_unlike_itself")
    assert unlike.subject.node == ILL
    (fan,) = (one for one in unlike.evidence if one.name == "slowest hwmon fan")
    assert fan.value < 0.5 * fan.expected and fan.unit == "rpm"
    judged = 2 * (END - TAUGHT - WARM_MINUTES)
    _until(lambda: f"gpuwarden_detector_health_minutes_judged_total {judged}.0" in detector(), detector)
    assert 'gpuwarden_detector_health_findings_total{role="live"} 1.0' in detector()
    producer.close()
    consumer.close()


def _send(producer: Producer, node: FanNode, slow: bool) -> None:
    for payload in (*node.minutes(TAUGHT, SLOW, readings=2), *node.minutes(SLOW, END, slow, readings=2)):
        producer.send(topics.TELEMETRY, node.name, payload)
    producer.flush(10)


def _found(consumer: Consumer, found: list[Finding]) -> bool:
    found += [finding for record in consumer.poll(0.2, 1000) if (finding := Finding.FromString(record.value)).subject.node in (WELL, ILL)]
    return any(one.kind == "node_unlike_itself" for one in found)
