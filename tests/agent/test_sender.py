"""Telemetry to the bus: in order, through a bus that is away, and never in the way."""

import random
import time
from functools import partial
from pathlib import Path

import pytest
from services import kafka
from services.kafka import Broker
from services.port import free_port

from gpuwarden.agent.sender import REFUSED, Sender
from gpuwarden.agent.spool import Spool
from gpuwarden.core.bus import MAX_RECORD_BYTES, Bus, BusConfig
from gpuwarden.core.bus_kafka_admin import administering
from gpuwarden.core.bus_memory import MemoryBus
from gpuwarden.core.connect import connect
from gpuwarden.proto.telemetry_pb2 import Telemetry
from gpuwarden.proto.topics import TELEMETRY


def record(number: int) -> bytes:
    return Telemetry(version=1, node="spool-node", sequence=number).SerializeToString()


def sequences(bus: Bus, wanted: int) -> list[int]:
    """Those of the records that come, until there are so many or 30 s are over."""
    consumer, got = bus.consumer([TELEMETRY], "test-sender"), list[int]()
    until_s = time.monotonic() + 30.0
    while len(got) < wanted and time.monotonic() < until_s:
        got += [Telemetry.FromString(r.value).sequence for r in consumer.poll(1.0, 100) if r.key == "spool-node"]
    consumer.close()
    return got


def refused() -> float:
    value: float = REFUSED._value.get()
    return value


def test_without_a_broker_sending_returns_at_once_and_so_does_the_end() -> None:
    sender = Sender(partial(connect, BusConfig(bootstrap=(f"127.0.0.1:{free_port()}",))), TELEMETRY, lambda payload: "n1", Spool(None, 1 << 20))
    start_s = time.monotonic()
    for number in range(1000):
        sender.send(record(number), False)
    assert time.monotonic() - start_s < 1.0
    sender.close()
    assert time.monotonic() - start_s < 4.0


def test_a_record_that_no_bus_takes_is_given_up_counted_and_said_and_the_others_go(caplog: pytest.LogCaptureFixture) -> None:
    bus, spool, before = MemoryBus(), Spool(None, 1 << 30), refused()
    sender = Sender(lambda stop: bus, TELEMETRY, lambda payload: "spool-node", spool)
    for number in range(1, 4):
        sender.send(bytes(MAX_RECORD_BYTES), events=True)
        sender.send(record(number), events=False)
    got = sequences(bus, 3)
    sender.close()
    assert got == [1, 2, 3] and len(spool) == 0
    assert refused() - before == 3
    said = [r.getMessage() for r in caplog.records if "given up" in r.getMessage()]
    assert len(said) == 2 and "has 1000010 bytes, at most 1000000 may go" in said[0]


@pytest.mark.timeout(300)
def test_records_arrive_in_order_under_the_nodes_key(kafka_broker: Broker) -> None:
    config = BusConfig(bootstrap=(kafka_broker.bootstrap,))
    sender = Sender(partial(connect, config), TELEMETRY, lambda payload: "spool-node", Spool(None, 1 << 20))
    for number in range(1, 51):
        sender.send(record(number), False)
    got = sequences(connect(config), 50)
    sender.close()
    assert got == list(range(1, 51))


@pytest.mark.timeout(300)
def test_so_is_one_that_the_brokers_refuse_since_they_are_set_to_take_less(tmp_path: Path) -> None:
    before = refused()
    with kafka.running(tmp_path) as broker:
        config = BusConfig(bootstrap=(broker.bootstrap,))
        bus, spool = connect(config), Spool(None, 1 << 20)
        with administering(config, 10.0) as topics:
            topics.set(TELEMETRY, {"max.message.bytes": "3000"})
        sender = Sender(lambda stop: bus, TELEMETRY, lambda payload: "spool-node", spool)
        for number in range(1, 51):
            sender.send(record(number), False)
            if number in (20, 21, 40):
                sender.send(random.randbytes(5000), False)
        got = sequences(bus, 50)
        sender.close()
    assert got == list(range(1, 51)) and len(spool) == 0
    assert refused() - before == 3
