"""Three brokers with topics as `gpuwarden topics` makes them, of which one crashes while records are under way."""

import time
from collections import Counter
from pathlib import Path

from services.kafka_three import ThreeBrokers

from gpuwarden.cli.main import main
from gpuwarden.core.bus import BusConfig
from gpuwarden.core.bus_kafka import KafkaBus
from gpuwarden.core.bus_kafka_admin import administering
from gpuwarden.core.bus_topics import MIN_INSYNC, REPLICATION
from gpuwarden.proto.topics import TELEMETRY

SENDS = 5000
NODES = 20


def test_a_broker_that_crashes_under_way_loses_nothing_doubles_nothing_and_keeps_the_order(tmp_path: Path) -> None:
    with ThreeBrokers(tmp_path) as brokers:
        assert main(["topics", "--bootstrap", ",".join(brokers.bootstrap)]) == 0
        config = BusConfig(bootstrap=tuple(brokers.bootstrap))
        with administering(config, 10.0) as kafka:
            made = kafka.found([TELEMETRY])[TELEMETRY]
        assert (made[REPLICATION], made[MIN_INSYNC]) == ("3", "2")
        bus = KafkaBus(config, [TELEMETRY], 10.0)
        producer = bus.producer()
        for number in range(SENDS):
            producer.send(TELEMETRY, f"node-{number % NODES}", b"%d" % number)
            if number == SENDS // 2:
                brokers.kill(1)
        producer.flush(60.0)
        producer.close()
        consumer = bus.consumer([TELEMETRY], "readers")
        came, end_s = list[tuple[str, int]](), time.monotonic() + 30.0
        while len(came) < SENDS and time.monotonic() < end_s:
            came += [(record.key, int(record.value)) for record in consumer.poll(1.0, 2000)]
        came += [(record.key, int(record.value)) for record in consumer.poll(0.5, 2000)]
        consumer.close()
    assert Counter(number for _, number in came) == Counter(range(SENDS))
    for node in range(NODES):
        assert [number for key, number in came if key == f"node-{node}"] == list(range(node, SENDS, NODES))
