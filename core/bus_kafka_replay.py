"""Reads what Kafka has of a topic, from its earliest record to its newest, and commits nothing: nobody's offsets are touched."""

import time
from collections.abc import Iterator
from typing import Final

from kafka import KafkaConsumer, TopicPartition  # type: ignore[import-untyped]  # has no types
from kafka.errors import KafkaError  # type: ignore[import-untyped]  # has no types

from gpuwarden.core.bus import BusConfig, BusError, Record
from gpuwarden.core.bus_kafka_access import access
from gpuwarden.core.bus_kafka_admin import made
from gpuwarden.core.bus_kafka_log import listen_to_kafka

PATIENCE_S: Final = 30.0
ANSWER_S: Final = 5.0
POLL_S: Final = 0.5
POLL_RECORDS: Final = 2000


def replay(config: BusConfig, topic: str, patience_s: float = PATIENCE_S) -> Iterator[Record]:
    """In order within a partition; ends with what was newest as it began. BusError where nothing comes for `patience_s`."""
    listen_to_kafka()
    reading = {"group_id": None, "enable_auto_commit": False, "auto_offset_reset": "earliest", "metrics_enabled": False}
    kafka = made(KafkaConsumer, **access(config), **reading, bootstrap_timeout_ms=1000 * ANSWER_S)
    try:
        places = [TopicPartition(topic, partition) for partition in kafka.partitions_for_topic(topic) or ()]
        if not places:
            raise BusError(f"{topic}: is not there")
        kafka.assign(places)
        yield from _to(kafka, kafka.end_offsets(places), patience_s)
    except KafkaError as why:
        raise BusError(f"{topic}: {why}") from why
    finally:
        kafka.close()


def _to(kafka: KafkaConsumer, ends: dict[TopicPartition, int], patience_s: float) -> Iterator[Record]:
    until_s = time.monotonic() + patience_s
    while left := [place for place, end in ends.items() if kafka.position(place) < end]:
        batches = kafka.poll(timeout_ms=1000 * POLL_S, max_records=POLL_RECORDS)
        if batches:
            until_s = time.monotonic() + patience_s
        elif time.monotonic() > until_s:
            raise BusError(f"{left[0].topic}: nothing came for {patience_s:g} s, and {len(left)} partitions are not at their ends")
        for place, batch in batches.items():
            for read in batch:
                if read.offset < ends[place]:
                    yield Record(place.topic, place.partition, read.offset, (read.key or b"").decode(errors="replace"), read.value or b"")
