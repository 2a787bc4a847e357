"""Telemetry to the bus: in order, through a bus that is away, and never in the way."""

import time
from functools import partial

import pytest
from services.kafka import Broker
from services.port import free_port

from gpuwarden.agent.sender import Sender
from gpuwarden.agent.spool import Spool
from gpuwarden.core.bus import BusConfig
from gpuwarden.core.connect import connect
from gpuwarden.proto.telemetry_pb2 import Telemetry
from gpuwarden.proto.topics import TELEMETRY


def record(number: int) -> bytes:
    return Telemetry(version=1, node="spool-node", sequence=number).SerializeToString()


def test_without_a_broker_sending_returns_at_once_and_so_does_the_end() -> None:
    sender = Sender(partial(connect, BusConfig(bootstrap=(f"127.0.0.1:{free_port()}",))), "n1", Spool(None, 1 << 20))
    start_s = time.monotonic()
    for number in range(1000):
        sender.send(record(number), False)
    assert time.monotonic() - start_s < 1.0
    sender.close()
    assert time.monotonic() - start_s < 4.0


@pytest.mark.timeout(300)
def test_records_arrive_in_order_under_the_nodes_key(kafka_broker: Broker) -> None:
    config = BusConfig(bootstrap=(kafka_broker.bootstrap,))
    sender = Sender(partial(connect, config), "spool-node", Spool(None, 1 << 20))
    for number in range(1, 51):
        sender.send(record(number), False)
    consumer = connect(config).consumer([TELEMETRY], "test-sender")
    got: list[int] = []
    until_s = time.monotonic() + 30.0
    while len(got) < 50 and time.monotonic() < until_s:
        got += [Telemetry.FromString(r.value).sequence for r in consumer.poll(1.0, 100) if r.key == "spool-node"]
    consumer.close()
    sender.close()
    assert got == list(range(1, 51))
