"""Three sources, one past: the same telemetry from files, from a real Kafka and from a real InfluxDB is the same block."""

import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from fakes.lived import LivedNode
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from services.influx import BUCKET, ORG, TOKEN

from gpuwarden.core.bus import BusConfig, Producer
from gpuwarden.core.connect import connect
from gpuwarden.detector.history import Recorder, Store
from gpuwarden.detector.history_config import InfluxConfig
from gpuwarden.detector.history_influx import Influx
from gpuwarden.detector.history_parquet import Parquet
from gpuwarden.detector.past import opened
from gpuwarden.detector.past.block import BadPast, Past, read
from gpuwarden.detector.past.features import FEATURES
from gpuwarden.detector.past.piece import MINUTE_NS, Span
from gpuwarden.proto import topics

if TYPE_CHECKING:
    from services import influx, kafka

FIRST_MINUTE = 28_333_333  # in November 2023, not on the hour
MINUTES = 90
NUMBERS = count()


@pytest.fixture(scope="module")
def influx_file(influx_server: "influx.Influx", tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("past")
    token = folder / "token"
    token.touch(0o600)
    token.write_text(TOKEN)
    file = folder / "recorder.toml"
    table = f'[influx]\nurl = "{influx_server.url}"\nbucket = "{BUCKET}"\norg = "{ORG}"\ntoken_file = "{token}"\n'
    file.write_text(f'[bus]\nbootstrap = ["127.0.0.1:1"]\n{table}')
    return file


@pytest.fixture(scope="module")
def producer(kafka_broker: "kafka.Broker") -> Iterator[Producer]:
    made = connect(BusConfig(bootstrap=(kafka_broker.bootstrap,))).producer()
    yield made
    made.close()


def recorded(store: Store, payloads: list[bytes]) -> None:
    recorder = Recorder(store)
    for offset, payload in enumerate(payloads):
        recorder.take(0, offset, payload)
    recorder.flush()
    assert not recorder.counts.refused


def past(told: str, nodes: list[str]) -> Past:
    with opened(told) as source:
        return read(source, Span(FIRST_MINUTE, FIRST_MINUTE + MINUTES), nodes)


@pytest.mark.timeout(300)
@settings(max_examples=3, phases=(Phase.explicit, Phase.generate), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), cards=st.integers(1, 10))
@example(seed=536821107, cards=2)  # two starts in one minute, one of them with its clock set back
def test_the_same_telemetry_is_the_same_block_whatever_it_is_read_from(
    seed: int, cards: int, tmp_path: Path, influx_server: "influx.Influx", influx_file: Path, kafka_broker: "kafka.Broker", producer: Producer
) -> None:
    names = [f'past {next(NUMBERS)} "${{x}}"' for _ in range(2)]
    nodes = [LivedNode(name, seed + i, FIRST_MINUTE * MINUTE_NS, cards) for i, name in enumerate(names)]
    payloads = [(node.node, payload) for node in nodes for payload in node.records(MINUTES * 12)]
    folder = tmp_path / names[0]
    recorded(Parquet(folder), [payload for _, payload in payloads])
    token = influx_file.parent / "token"
    store = Influx(InfluxConfig(influx_server.url, BUCKET, ORG, token), threading.Event(), lambda: None, lambda why: None)
    recorded(store, [payload for _, payload in payloads])
    for name, payload in payloads:
        producer.send(topics.TELEMETRY, name, payload)
    producer.flush(30)
    files, replayed, asked = (
        past(told, names) for told in (f"parquet:{folder}", f"kafka:{kafka_broker.bootstrap}", f"influx:{influx_file}")
    )
    np.testing.assert_array_equal(files.values, replayed.values)
    np.testing.assert_array_equal(np.isnan(files.values), np.isnan(asked.values))
    np.testing.assert_allclose(files.values, asked.values, rtol=1e-6, atol=1e-4)  # its texts are shorter than a float32 is long
    told = [one.left_out.figures() for one in (files, replayed, asked)]
    assert told[0] == told[1] == told[2] | {"repeats": told[0]["repeats"]}
    assert told[0]["repeats"] > 0
    known = ~np.isnan(files.values)
    assert known.mean() > 0.01 and np.isfinite(files.values[known]).all()


def test_influx_tells_which_nodes_there_are(influx_server: "influx.Influx", influx_file: Path) -> None:
    node = LivedNode("past-alone", 1, (FIRST_MINUTE + 600_000) * MINUTE_NS)
    store = Influx(InfluxConfig(influx_server.url, BUCKET, ORG, influx_file.parent / "token"), threading.Event(), lambda: None, lambda why: None)
    recorded(store, node.records(20))
    with opened(f"influx:{influx_file}") as source:
        assert source.nodes(Span(FIRST_MINUTE + 600_000, FIRST_MINUTE + 600_002)) == ["past-alone"]
        assert source.nodes(Span(FIRST_MINUTE + 700_000, FIRST_MINUTE + 700_060)) == []
        nothing = read(source, Span(FIRST_MINUTE + 700_000, FIRST_MINUTE + 700_060), ["past-alone"])
    assert nothing.left_out.empty_minutes == 60
    assert len(nothing.left_out.unknown) == len(FEATURES)


def test_a_server_that_is_not_there_is_said_by_its_setting(tmp_path: Path) -> None:
    file = tmp_path / "recorder.toml"
    file.write_text('[bus]\nbootstrap = ["127.0.0.1:1"]\n[influx]\nurl = "http://127.0.0.1:1"\nbucket = "b"\n')
    with pytest.raises(BadPast, match=r"influx\.url: http://127\.0\.0\.1:1 does not answer"):
        past(f"influx:{file}", ["a"])
    with pytest.raises(BadPast, match="kafka: "):
        past("kafka:127.0.0.1:1", ["a"])
