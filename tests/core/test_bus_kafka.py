"""Kafka's own side of the bus: brokers that are away, that are late, and that ask who one is."""

import logging
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from kafka.admin import KafkaAdminClient  # type: ignore[import-untyped]  # has no types
from kafka.cluster import ClusterMetadata  # type: ignore[import-untyped]  # has no types
from kafka.coordinator.assignors.range import RangePartitionAssignor  # type: ignore[import-untyped]  # has no types
from services import kafka
from services.port import free_port

from gpuwarden.core import bus_kafka
from gpuwarden.core.bus import Bus, BusConfig, BusError, Consumer
from gpuwarden.core.bus_kafka import KafkaBus
from gpuwarden.core.connect import connect
from gpuwarden.proto import topics

TOPIC = topics.TELEMETRY


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[kafka.Broker]:
    """A broker of this test's own, to do harm to."""
    with kafka.running(tmp_path) as running:
        yield running


def reach(broker: kafka.Broker) -> Bus:
    return KafkaBus(BusConfig(bootstrap=(broker.bootstrap,)), [TOPIC], 10.0)


def values(consumer: Consumer, wanted: int) -> list[bytes]:
    """What comes, until there are `wanted` values or 30 s are over."""
    end_s, came = time.monotonic() + 30.0, list[bytes]()
    while len(came) < wanted and time.monotonic() < end_s:
        came += [record.value for record in consumer.poll(1.0, 100)]
    return came


def test_flush_says_so_while_brokers_are_silent_and_nothing_is_lost_or_doubled(broker: kafka.Broker) -> None:
    bus = reach(broker)
    producer = bus.producer()
    producer.send(TOPIC, "node-1", b"before")
    producer.flush(10.0)
    broker.server.send_signal(signal.SIGSTOP)
    for number in range(20):
        producer.send(TOPIC, "node-1", b"%d" % number)
    with pytest.raises(BusError, match=r"20 records are not acknowledged after 1\.0 s"):
        producer.flush(1.0)
    broker.server.send_signal(signal.SIGCONT)
    producer.flush(20.0)
    producer.close()
    consumer = bus.consumer([TOPIC], "readers")
    records = consumer.poll(10.0, 100)
    consumer.close()
    assert [record.value for record in records] == [b"before", *(b"%d" % number for number in range(20))]


def test_producer_and_consumer_go_on_when_a_crashed_broker_is_back(tmp_path: Path) -> None:
    port, soon_back = free_port(), {"broker.session.timeout.ms": "2000", "broker.heartbeat.interval.ms": "500"}
    with kafka.running(tmp_path, port, more=soon_back) as broker:
        bus = reach(broker)
        producer, consumer = bus.producer(), bus.consumer([TOPIC], "readers")
        producer.send(TOPIC, "node-1", b"before")
        producer.flush(10.0)
        assert values(consumer, 1) == [b"before"]
        broker.kill()
    producer.send(TOPIC, "node-1", b"during")
    assert consumer.poll(0.5, 10) == []
    with kafka.running(tmp_path, port, more=soon_back):
        producer.flush(30.0)
        assert values(consumer, 1) == [b"during"]
        producer.close()
        consumer.close()


READER = """
import sys
from gpuwarden.core import bus_kafka
from gpuwarden.core.bus import BusConfig
bus_kafka._READING = {**bus_kafka._READING, "session_timeout_ms": 6000}
consumer = bus_kafka.KafkaBus(BusConfig(bootstrap=(sys.argv[1],)), [], 10.0).consumer([sys.argv[2]], "readers")
while not (records := consumer.poll(1.0, 100)):
    pass
consumer.commit({(r.topic, r.partition): r.offset + 1 for r in records if r.value == b"done"})
consumer.poll(0.1, 1)
print("read", flush=True)
consumer.poll(60.0, 1)
"""


def test_what_a_killed_reader_had_not_committed_another_reads(broker: kafka.Broker) -> None:
    bus = reach(broker)
    producer = bus.producer()
    for value in (b"done", b"open"):
        producer.send(TOPIC, "node-1", value)
    producer.flush(10.0)
    producer.close()
    with subprocess.Popen([sys.executable, "-c", READER, broker.bootstrap, TOPIC], stdout=subprocess.PIPE) as reader:
        assert reader.stdout is not None and reader.stdout.readline() == b"read\n"
        reader.kill()
    consumer = bus.consumer([TOPIC], "readers")
    assert values(consumer, 1) == [b"open"]
    consumer.close()


def test_a_reader_that_was_given_nothing_since_it_knew_no_partitions_yet_asks_again(
    broker: kafka.Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus_kafka, "NOTHING_S", 1.0)
    assign, asked = RangePartitionAssignor.assign.__func__, list[object]()

    def knows_nothing_at_first(assignor: type, cluster: object, members: object) -> object:
        asked.append(members)
        return assign(assignor, ClusterMetadata() if len(asked) == 1 else cluster, members)

    monkeypatch.setattr(RangePartitionAssignor, "assign", classmethod(knows_nothing_at_first))
    bus = reach(broker)
    with closing(bus.producer()) as producer, closing(bus.consumer([TOPIC], "group")) as consumer:
        producer.send(TOPIC, "node-1", b"read at last")
        assert values(consumer, 1) == [b"read at last"]
    assert len(asked) == 2


def test_a_producer_whose_brokers_are_gone_ends_and_tells_of_every_record(
    broker: kafka.Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus_kafka, "CLOSE_S", 0.5)
    outcomes: list[Exception | None] = []
    producer = reach(broker).producer()
    producer.send(TOPIC, "node-1", b"x", outcomes.append)
    producer.flush(10.0)
    broker.kill()
    for _ in range(3):
        producer.send(TOPIC, "node-1", b"x", outcomes.append)
    producer.close()
    assert [type(outcome) for outcome in outcomes] == [type(None), BusError, BusError, BusError]
    assert not [thread.name for thread in threading.enumerate() if "producer" in thread.name]


def test_what_waits_for_brokers_is_bounded(broker: kafka.Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bus_kafka, "UNDER_WAY_BYTES", 100_000)
    monkeypatch.setattr(bus_kafka, "ROOM_S", 0.1)
    producer = reach(broker).producer()
    producer.send(TOPIC, "node-1", b"x")
    producer.flush(10.0)
    broker.server.send_signal(signal.SIGSTOP)
    for _ in range(10):
        producer.send(TOPIC, "node-1", bytes(10_000))
    with pytest.raises(BusError, match="100000 bytes wait for the brokers, at most 100000 may"):
        producer.send(TOPIC, "node-1", bytes(10_000))
    broker.server.send_signal(signal.SIGCONT)
    producer.flush(20.0)
    producer.send(TOPIC, "node-1", bytes(10_000))
    producer.close()


def test_connect_waits_for_a_broker_says_so_and_makes_the_topics(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    port = free_port()
    config = BusConfig(bootstrap=(f"127.0.0.1:{port}",), partitions=3)
    with ThreadPoolExecutor(1) as executor:
        connecting = executor.submit(connect, config)
        _wait_until(lambda: f"waiting for Kafka: 127.0.0.1:{port}" in caplog.text)
        with kafka.running(tmp_path, port):
            connecting.result(30.0)
            admin = KafkaAdminClient(bootstrap_servers=config.bootstrap[0])
            made = {topic["name"]: len(topic["partitions"]) for topic in admin.describe_topics(list(topics.ALL))}
            admin.close()
    assert made == dict.fromkeys(topics.ALL, 3)


def test_a_stop_ends_the_wait(caplog: pytest.LogCaptureFixture) -> None:
    stop = threading.Event()
    stopper = threading.Timer(0.5, stop.set)
    stopper.start()
    start_s = time.monotonic()
    with pytest.raises(BusError, match="stopped while waiting"):
        connect(BusConfig(bootstrap=(f"127.0.0.1:{free_port()}",)), stop)
    assert time.monotonic() - start_s < 6.0
    stopper.join()
    waits = [r for r in caplog.records if r.name == "gpuwarden.bus"]
    assert [(r.levelno, r.getMessage()[:17]) for r in waits] == [(logging.WARNING, "waiting for Kafka")]


def test_a_name_that_nobody_knows_is_a_bus_error() -> None:
    with pytest.raises(BusError, match=r"broker\.invalid:9092"):
        KafkaBus(BusConfig(bootstrap=("broker.invalid:9092",)), [], 1.0)


def _wait_until(holds: Callable[[], bool]) -> None:
    end_s = time.monotonic() + 30.0
    while not holds():
        assert time.monotonic() < end_s, "not in 30 s"
        time.sleep(0.05)
