"""What every bus promises: the one in memory, Apache Kafka, and Apache Kafka under TLS with a password."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count

import pytest
from services.kafka import Broker
from services.kafka_secure import ADMIN, SecureBroker

from gpuwarden.core.bus import (
    MAX_RECORD_BYTES,
    Bus,
    BusConfig,
    Consumer,
    Producer,
    Record,
    TooLarge,
)
from gpuwarden.core.bus_kafka import KafkaBus
from gpuwarden.core.bus_memory import MemoryBus

_number = count()


@dataclass
class Lane:
    """A bus with two topics and a group that are this test's own. What it makes it closes."""

    bus: Bus
    topic: str
    other: str
    group: str
    join_s: float
    made: list[Producer | Consumer] = field(default_factory=list)

    def producer(self) -> Producer:
        self.made.append(made := self.bus.producer())
        return made

    def consumer(self, *topics: str, group: str = "", from_start: bool = True) -> Consumer:
        made = self.bus.consumer(topics or [self.topic], group or self.group, from_start)
        self.made.append(made)
        return made

    def joined(self, from_start: bool = True) -> Consumer:
        """A member that has its partitions, and finds nothing on them."""
        made = self.consumer(from_start=from_start)
        assert made.poll(self.join_s, 10) == []
        return made

    def send(self, keys: int, each: int, topic: str = "") -> dict[str, list[bytes]]:
        """Sends `each` records to each of `keys` keys by turns, durably; what was sent, by key."""
        sent: dict[str, list[bytes]] = defaultdict(list)
        producer = self.producer()
        for number in range(keys * each):
            key, value = f"node-{number % keys}", b"%d" % number
            producer.send(topic or self.topic, key, value)
            sent[key].append(value)
        producer.flush(10.0)
        return sent


# TLS and a password change how bytes travel, not what a bus promises: the tests that would notice run under them too.
also_secured = pytest.mark.parametrize("lane", ["memory", "kafka", "kafka-secure"], indirect=True)


@pytest.fixture(params=["memory", "kafka"])
def lane(request: pytest.FixtureRequest) -> Iterator[Lane]:
    number = next(_number)
    topic, other, group = f"topic-{number}", f"other-{number}", f"group-{number}"
    lane = Lane(_bus(request, topic, other), topic, other, group, join_s=0.0 if request.param == "memory" else 2.0)
    yield lane
    for made in lane.made:
        made.close()


def _bus(request: pytest.FixtureRequest, *topics: str) -> Bus:
    if request.param == "memory":
        return MemoryBus()
    if request.param == "kafka-secure":
        secure: SecureBroker = request.getfixturevalue("secure_broker")
        return KafkaBus(secure.user(ADMIN), topics, 10.0)
    broker: Broker = request.getfixturevalue("kafka_broker")
    return KafkaBus(BusConfig(bootstrap=(broker.bootstrap,), partitions=4), topics, 10.0)


def read(consumer: Consumer, wanted: int, within_s: float = 20.0) -> list[Record]:
    """Polls until there are `wanted` records, and then once more, so that one too many shows."""
    records: list[Record] = []
    end_s = time.monotonic() + within_s
    while len(records) < wanted and time.monotonic() < end_s:
        records += consumer.poll(0.5, 100)
    return records + consumer.poll(0.2, 100)


def by_key(records: list[Record]) -> dict[str, list[bytes]]:
    values: dict[str, list[bytes]] = defaultdict(list)
    for record in records:
        values[record.key].append(record.value)
    return values


def after(records: list[Record]) -> dict[tuple[str, int], int]:
    """The offsets to commit once `records` are dealt with."""
    return {(record.topic, record.partition): record.offset + 1 for record in records}


@also_secured
def test_records_of_a_key_arrive_once_and_in_the_order_they_were_sent(lane: Lane) -> None:
    sent = lane.send(keys=7, each=60)
    assert by_key(read(lane.consumer(), 420)) == sent


def test_a_key_stays_in_one_partition_and_keys_are_spread(lane: Lane) -> None:
    lane.send(keys=20, each=3)
    partitions = defaultdict(set)
    for record in read(lane.consumer(), 60):
        partitions[record.key].add(record.partition)
    assert all(len(of_key) == 1 for of_key in partitions.values())
    assert len(set.union(*partitions.values())) > 1


def test_keys_and_values_of_any_bytes_come_back(lane: Lane) -> None:
    producer = lane.producer()
    producer.send(lane.topic, "Knoten-ä/GPU 0", bytes(range(256)))
    producer.send(lane.topic, "", b"")
    producer.flush(10.0)
    assert by_key(read(lane.consumer(), 2)) == {"Knoten-ä/GPU 0": [bytes(range(256))], "": [b""]}


def test_what_a_dead_member_has_not_committed_is_read_again(lane: Lane) -> None:
    sent = lane.send(keys=3, each=10)
    first = lane.consumer()
    assert by_key(read(first, 30)) == sent
    first.close()
    assert by_key(read(lane.consumer(), 30)) == sent


@also_secured
def test_a_new_member_goes_on_after_what_is_committed(lane: Lane) -> None:
    sent = lane.send(keys=4, each=10)
    first = lane.consumer()
    records = read(first, 40)
    done = [record for record in records if record.value in sent["node-1"] or int(record.value) < 20]
    committed = {place: max(r.offset for r in done if (r.topic, r.partition) == place) + 1 for place in after(done)}
    first.commit(committed)
    first.close()
    expected = {(r.partition, r.offset) for r in records if r.offset >= committed.get((r.topic, r.partition), 0)}
    assert {(r.partition, r.offset) for r in read(lane.consumer(), len(expected))} == expected


def test_a_commit_may_come_from_another_thread_than_the_polls(lane: Lane) -> None:
    lane.send(keys=2, each=5)
    first = lane.consumer()
    records = read(first, 10)
    committer = threading.Thread(target=first.commit, args=(after(records),))
    committer.start()
    committer.join()
    first.poll(0.1, 10)
    first.close()
    assert lane.consumer().poll(1.5, 10) == []


def test_a_poll_gives_no_more_than_it_was_asked_for(lane: Lane) -> None:
    lane.send(keys=5, each=20)
    consumer = lane.consumer()
    sizes = [len(consumer.poll(2.0, 7)) for _ in range(12)]
    assert max(sizes) == 7


def test_a_poll_of_nothing_waits_its_time_and_gives_nothing(lane: Lane) -> None:
    consumer = lane.joined()
    start_s = time.monotonic()
    assert consumer.poll(0.3, 10) == []
    assert 0.25 < time.monotonic() - start_s < 2.0


def test_a_poll_returns_as_soon_as_there_is_a_record(lane: Lane) -> None:
    consumer = lane.joined()
    sender = threading.Timer(0.2, lane.send, kwargs={"keys": 1, "each": 1})
    start_s = time.monotonic()
    sender.start()
    assert len(consumer.poll(10.0, 10)) == 1
    assert time.monotonic() - start_s < 5.0
    sender.join()


def test_a_record_that_is_too_large_is_refused_with_its_size_and_others_go_on(lane: Lane) -> None:
    producer = lane.producer()
    with pytest.raises(TooLarge, match=r"'node-1' has 1000007 bytes, at most 1000000"):
        producer.send(lane.topic, "node-1", bytes(MAX_RECORD_BYTES + 1))
    producer.send(lane.topic, "node-2", b"x")
    producer.flush(10.0)
    assert by_key(read(lane.consumer(), 1)) == {"node-2": [b"x"]}


@also_secured
def test_a_record_of_just_the_largest_size_arrives(lane: Lane) -> None:
    largest = bytes(number % 251 for number in range(MAX_RECORD_BYTES - 1))
    producer = lane.producer()
    producer.send(lane.topic, "k", largest)
    producer.flush(10.0)
    assert [record.value for record in read(lane.consumer(), 1)] == [largest]


@also_secured
def test_every_record_is_told_to_be_durable_before_flush_returns(lane: Lane) -> None:
    outcomes: list[Exception | None] = []
    producer = lane.producer()
    for number in range(50):
        producer.send(lane.topic, str(number), b"x", outcomes.append)
    producer.flush(10.0)
    assert outcomes == [None] * 50


def test_one_member_reads_two_topics(lane: Lane) -> None:
    lane.send(keys=2, each=5)
    lane.send(keys=2, each=5, topic=lane.other)
    topics = [record.topic for record in read(lane.consumer(lane.topic, lane.other), 20)]
    assert sorted(topics) == [lane.other] * 10 + [lane.topic] * 10


def test_two_groups_each_read_everything(lane: Lane) -> None:
    sent = lane.send(keys=3, each=5)
    assert by_key(read(lane.consumer(), 15)) == sent
    assert by_key(read(lane.consumer(group=lane.group + "-more"), 15)) == sent


def test_a_group_that_does_not_begin_at_the_start_reads_only_what_comes(lane: Lane) -> None:
    lane.send(keys=3, each=5)
    consumer = lane.joined(from_start=False)
    lane.send(keys=1, each=1)
    assert by_key(read(consumer, 1)) == {"node-0": [b"0"]}


def test_two_members_share_the_partitions_and_the_one_that_stays_takes_over(lane: Lane) -> None:
    first, second = lane.consumer(), lane.consumer()
    _until(lambda: min(shares := _round(lane, first, second)) > 0 and sum(shares) == 40)
    second.close()
    _until(lambda: _round(lane, first) == [40])


def _round(lane: Lane, *members: Consumer) -> list[int]:
    """Sends 40 records and polls the members by turns until each record has come; how many came to each member."""
    first = time.monotonic_ns()
    producer = lane.producer()
    for number in range(40):
        producer.send(lane.topic, f"node-{number}", b"%d" % (first + number))
    producer.flush(10.0)
    came: list[list[Record]] = [[] for _ in members]
    end_s = time.monotonic() + 20.0
    while len({record.value for records in came for record in records}) < 40 and time.monotonic() < end_s:
        for member, records in zip(members, came, strict=True):
            new = member.poll(0.2, 100)
            member.commit(after(new))
            records += [record for record in new if int(record.value) >= first]
    return [len(records) for records in came]


def _until(holds: Callable[[], bool]) -> None:
    """A group learns of a change with its next heartbeat, 3 s with Kafka's clients, and may read a round twice then."""
    end_s = time.monotonic() + 30.0
    while not holds():
        assert time.monotonic() < end_s, "no round was as it should be in 30 s"
