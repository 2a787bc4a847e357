"""The in-process bus's own side: a bounded past, and what is dropped is told."""

import logging

import pytest
from prometheus_client import REGISTRY

from gpuwarden.core.bus_memory import PARTITIONS, RECORD_BYTES, MemoryBus

TOPIC = "topic"


def dropped() -> float:
    return REGISTRY.get_sample_value("gpuwarden_bus_unread_dropped_total", {"topic": TOPIC}) or 0.0


def test_a_partition_keeps_the_newest_of_a_bounded_size() -> None:
    bus = MemoryBus(kept_bytes=10 * (RECORD_BYTES + 100))
    producer = bus.producer()
    for number in range(1000):
        producer.send(TOPIC, "node-1", b"%100d" % number)
    records = bus.consumer([TOPIC], "late").poll(0.0, 1000)
    assert [int(record.value) for record in records] == list(range(990, 1000))
    assert [record.offset for record in records] == list(range(990, 1000))


def test_what_a_slow_reader_loses_is_counted_and_said(caplog: pytest.LogCaptureFixture) -> None:
    bus = MemoryBus(kept_bytes=10 * (RECORD_BYTES + 100))
    reader, producer, before = bus.consumer([TOPIC], "slow"), bus.producer(), dropped()
    for number in range(25):
        producer.send(TOPIC, "node-1", b"%100d" % number)
    with caplog.at_level(logging.WARNING):
        assert [int(record.value) for record in reader.poll(0.0, 1000)] == list(range(15, 25))
    assert dropped() - before == 15
    assert "15 records were dropped before they were read" in caplog.text


def test_a_reader_that_keeps_up_loses_nothing() -> None:
    bus = MemoryBus(kept_bytes=10 * (RECORD_BYTES + 100))
    reader, producer, before = bus.consumer([TOPIC], "quick"), bus.producer(), dropped()
    for number in range(100):
        producer.send(TOPIC, "node-1", b"%100d" % number)
        assert [int(record.value) for record in reader.poll(0.0, 10)] == [number]
    assert dropped() == before


def test_a_busy_partition_starves_no_other() -> None:
    bus = MemoryBus()
    reader, producer = bus.consumer([TOPIC], "readers"), bus.producer()
    for number in range(40 * PARTITIONS):
        producer.send(TOPIC, f"node-{number}", b"x")
    partitions = {record.partition for _ in range(PARTITIONS) for record in reader.poll(0.0, 5)}
    assert partitions == set(range(PARTITIONS))


def test_a_commit_for_a_partition_that_another_has_taken_over_is_left_out() -> None:
    bus = MemoryBus()
    bus.producer().send(TOPIC, "node-1", b"x")
    first = bus.consumer([TOPIC], "readers")
    (record,) = first.poll(0.0, 10)
    first.close()
    first.commit({(TOPIC, record.partition): 1})
    assert bus.consumer([TOPIC], "readers").poll(0.0, 10) == [record]
