"""History in a real InfluxDB 2 and a real VictoriaMetrics: what was read comes back, once each, whatever the server does meanwhile."""

import json
import logging
import math
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.client.write_api import SYNCHRONOUS
from services import influx, kafka
from services.certificate import Certificate
from services.influx import BUCKET, ORG, TOKEN
from services.port import free_port

from gpuwarden.core.bus import BusConfig
from gpuwarden.core.connect import connect
from gpuwarden.detector import history_influx
from gpuwarden.detector.history import NotStored, Recorder
from gpuwarden.detector.history_config import InfluxConfig
from gpuwarden.detector.history_influx import Influx
from gpuwarden.detector.history_lines import start_of
from gpuwarden.proto import topics
from gpuwarden.proto.catalogue import BY_NAME, Device
from gpuwarden.proto.decode import decode
from gpuwarden.proto.encode import encode, encode_block

METRICS = [BY_NAME[name] for name in ("gpu_power_watts", "gpu_sm_clock_hertz", "gpu_temperature_celsius")]
EVENTUALLY_S = 60.0
Read = Callable[[str, str], dict[tuple[str, int], float]]


def unix_ns(second: int) -> int:
    """Whole milliseconds: VictoriaMetrics keeps no finer times."""
    return (1_700_000_000 + second) * 1_000_000_000 + 123_000_000


def payload(node: str, sequence: int, cards: int = 2, at_ns: int | None = None) -> bytes:
    rows = [[0.1 + sequence, 1.98e9 + card, math.nan if card else -3.5] for card in range(cards)]
    block = encode_block(Device.GPU, [f"GPU-{card}" for card in range(cards)], METRICS, rows)
    return encode(node, "start-a", sequence, unix_ns(sequence) if at_ns is None else at_ns, [block])


def wanted(node: str, metric: str, sequences: range) -> dict[tuple[str, int], float]:
    """(device, time) to the value that a detector decodes; none where there is no reading."""
    samples = [decode(payload(node, sequence)) for sequence in sequences]
    found = {}
    for sample in samples:
        (readings,) = sample.readings
        column = [m.name for m in BY_NAME.values() if m.device is Device.GPU].index(metric)
        found |= {(device, sample.unix_ns): float(value) for device, value in zip(readings.ids, readings.values[:, column], strict=True)}
    return {key: value for key, value in found.items() if not math.isnan(value)}


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    return written_token(tmp_path / "token", TOKEN)


def written_token(path: Path, token: str) -> Path:
    path.touch(0o600)
    path.write_text(token)
    return path


@pytest.fixture
def config(influx_server: influx.Influx, token_file: Path) -> InfluxConfig:
    return InfluxConfig(influx_server.url, BUCKET, ORG, token_file)


@pytest.fixture
def store(config: InfluxConfig) -> Influx:
    return opened(config)


def opened(config: InfluxConfig, stop: threading.Event | None = None) -> Influx:
    return Influx(config, stop or threading.Event(), lambda: None, lambda why: None)


def recorded(store: Influx, payloads: list[bytes]) -> Recorder:
    recorder = Recorder(store)
    for offset, one in enumerate(payloads):
        recorder.take(0, offset, one)
    recorder.flush()
    return recorder


def quoted(text: str) -> str:
    """As Flux and MetricsQL want it."""
    return json.dumps(text, ensure_ascii=False)


def from_influx(url: str, node: str, metric: str, measurement: str = "gpu", bucket: str = BUCKET) -> dict[tuple[str, int], float]:
    """By Flux."""
    asked = f"""from(bucket: {quoted(bucket)}) |> range(start: 0, stop: 2100-01-01T00:00:00Z)
        |> filter(fn: (r) => r._measurement == "{measurement}" and r.node == {quoted(node)} and r._field == "{metric}")"""
    with InfluxDBClient(url, TOKEN, org=ORG) as client:
        rows = [record for table in client.query_api().query(asked) for record in table.records]
    keys = [(row.values.get("device_id", ""), round(row.get_time().timestamp() * 1000) * 1_000_000) for row in rows]
    assert len(keys) == len(set(keys))
    return {key: float(np.float32(row.get_value())) for key, row in zip(keys, rows, strict=True)}


def from_victoria(url: str, node: str, metric: str) -> dict[tuple[str, int], float]:
    """By its export, after what it has taken is there to be read."""
    urllib.request.urlopen(f"{url}/internal/force_flush").close()
    match = urllib.parse.urlencode({"match[]": f'{{__name__="{metric}",node={quoted(node)}}}'})
    with urllib.request.urlopen(f"{url}/api/v1/export?{match}") as answer:
        series = [json.loads(line) for line in answer]
    return {
        (one["metric"]["device_id"], time_ms * 1_000_000): float(np.float32(value))
        for one in series for time_ms, value in zip(one["timestamps"], one["values"], strict=True)
    }  # fmt: skip


@pytest.fixture(params=["influx", "victoria"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Influx, Read]:
    if request.param == "influx":
        url = request.getfixturevalue("influx_server").url
        return opened(InfluxConfig(url, BUCKET, ORG, written_token(tmp_path / "token", TOKEN))), lambda n, m: from_influx(url, n, m)
    url = request.getfixturevalue("victoria_server").url
    return opened(InfluxConfig(url, "any")), lambda n, m: from_victoria(url, n, m)


def test_every_reading_comes_back_as_it_was_decoded_and_none_that_was_not(server: tuple[Influx, Read]) -> None:
    store, read = server
    recorder = recorded(store, [payload("back-a", sequence) for sequence in range(1, 31)])
    for metric in METRICS:
        assert read("back-a", metric.name) == wanted("back-a", metric.name, range(1, 31))
    assert recorder.figures()["rows"] == {"record": 30, "gpu": 60}
    assert recorder.figures()["requests"] == 1


def test_what_is_written_twice_and_in_another_order_is_there_once(server: tuple[Influx, Read]) -> None:
    store, read = server
    payloads = [payload("back-b", sequence) for sequence in range(1, 21)]
    recorded(store, payloads)
    recorded(store, payloads[5:] + payloads[::-1])
    found = read("back-b", "gpu_power_watts")
    assert found == wanted("back-b", "gpu_power_watts", range(1, 21))


@pytest.mark.parametrize("name", ["a b,c=d", 'quo"te', "'", "ä-節点", "#x", "a,", "=", "{}[]()"])
def test_names_come_back_as_they_are(server: tuple[Influx, Read], name: str) -> None:
    store, read = server
    assert not recorded(store, [payload(name, 1)]).counts.refused
    assert read(name, "gpu_power_watts") == wanted(name, "gpu_power_watts", range(1, 2))


def test_a_record_tells_its_place_in_its_agents_life(store: Influx, influx_server: influx.Influx) -> None:
    recorded(store, [payload("back-c", 7)])
    assert from_influx(influx_server.url, "back-c", "record_sequence", "record") == {("", unix_ns(7)): 7.0}
    assert from_influx(influx_server.url, "back-c", "record_agent_start", "record") == {
        ("", unix_ns(7)): float(np.float32(start_of("start-a")))
    }


def test_as_many_series_as_devices_and_metrics_whatever_is_sent(store: Influx, influx_server: influx.Influx) -> None:
    recorded(store, [payload("back-d", sequence) for sequence in range(1, 200)])
    asked = f"""import "influxdata/influxdb/schema"
        schema.tagKeys(bucket: "{BUCKET}", predicate: (r) => r.node == "back-d", start: 0, stop: 2100-01-01T00:00:00Z)"""
    with InfluxDBClient(influx_server.url, TOKEN, org=ORG) as client:
        keys = {row.get_value() for table in client.query_api().query(asked) for row in table.records}
    assert {key for key in keys if not key.startswith("_")} == {"node", "device_id"}


def until_it_waits(store: Influx, payloads: list[bytes]) -> tuple[threading.Thread, Recorder]:
    recorder = Recorder(store)
    for offset, one in enumerate(payloads):
        recorder.take(0, offset, one)
    writing = threading.Thread(target=recorder.flush)
    writing.start()
    return writing, recorder


def warned(caplog: pytest.LogCaptureFixture) -> str:
    """The one line that was said, once there is one."""
    eventually(lambda: any(record.levelno == logging.WARNING for record in caplog.records))
    (said,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    return said


def eventually(true: Callable[[], bool]) -> None:
    end_s = time.monotonic() + EVENTUALLY_S
    while not true():
        assert time.monotonic() < end_s, f"not within {EVENTUALLY_S} s"
        time.sleep(0.05)


def test_a_wrong_token_is_said_once_and_a_right_one_in_its_file_is_enough(
    config: InfluxConfig, token_file: Path, influx_server: influx.Influx, caplog: pytest.LogCaptureFixture
) -> None:
    written_token(token_file, "not-the-token")
    writing, _ = until_it_waits(opened(config), [payload("back-e", sequence) for sequence in range(1, 6)])
    said = warned(caplog)
    assert said.startswith(f"influx.token_file: {config.url} refuses the token in {token_file}: ")
    assert "not-the-token" not in said
    time.sleep(1.2)  # some attempts more
    assert warned(caplog) == said
    assert from_influx(influx_server.url, "back-e", "gpu_power_watts") == {}
    written_token(token_file, TOKEN)
    writing.join(EVENTUALLY_S)
    assert from_influx(influx_server.url, "back-e", "gpu_power_watts") == wanted("back-e", "gpu_power_watts", range(1, 6))


def test_a_token_that_is_missing_or_that_others_may_read_is_said(
    config: InfluxConfig, token_file: Path, influx_server: influx.Influx, caplog: pytest.LogCaptureFixture
) -> None:
    token_file.chmod(0o644)
    stop = threading.Event()
    stop.set()
    with pytest.raises(NotStored, match=r"influx\.token_file: .*chmod 600"):
        recorded(opened(config, stop), [payload("back-f", 1)])
    with pytest.raises(NotStored, match=r"influx\.token_file: is not there, and .* wants a token"):
        recorded(opened(InfluxConfig(influx_server.url, BUCKET, ORG), stop), [payload("back-f", 1)])


def test_a_missing_bucket_is_said_and_what_waits_is_there_once_it_is_made(
    influx_server: influx.Influx, token_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    writing, _ = until_it_waits(opened(InfluxConfig(influx_server.url, "later", ORG, token_file)), [payload("back-g", 1)])
    assert warned(caplog).startswith(f"influx.bucket: {influx_server.url} has no bucket 'later' of organisation '{ORG}': ")
    with InfluxDBClient(influx_server.url, TOKEN, org=ORG) as client:
        client.buckets_api().create_bucket(bucket_name="later", org=ORG)
    writing.join(EVENTUALLY_S)
    assert len(from_influx(influx_server.url, "back-g", "gpu_power_watts", bucket="later")) == 2


def test_another_organisation_is_said(influx_server: influx.Influx, token_file: Path) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(NotStored, match=r"influx\.bucket: .* has no bucket 'telemetry' of organisation 'nobody'"):
        recorded(opened(InfluxConfig(influx_server.url, BUCKET, "nobody", token_file), stop), [payload("back-h", 1)])


def test_what_the_server_will_never_take_is_counted_and_holds_nothing_up(
    influx_server: influx.Influx, token_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with InfluxDBClient(influx_server.url, TOKEN, org=ORG) as client:
        rule = {"type": "expire", "everySeconds": 3600}
        client.buckets_api().create_bucket(bucket_name="hour", org=ORG, retention_rules=rule)
    now_ns = time.time_ns() // 1_000_000_000 * 1_000_000_000
    payloads = [payload("back-i", 1, at_ns=now_ns), payload("back-i", 2, at_ns=unix_ns(0)), payload("back-i", 3, at_ns=now_ns + 10**9)]
    recorder = recorded(opened(InfluxConfig(influx_server.url, "hour", ORG, token_file)), payloads)
    found = from_influx(influx_server.url, "back-i", "gpu_power_watts", bucket="hour")
    assert {time_ns for _, time_ns in found} == {now_ns, now_ns + 10**9}
    assert recorder.figures()["dropped"] == 3
    assert warned(caplog).startswith("left out, 3 points by now: influx.bucket: ")


def test_a_field_that_somebody_made_text_costs_its_own_points_only(influx_server: influx.Influx, token_file: Path) -> None:
    with InfluxDBClient(influx_server.url, TOKEN, org=ORG) as client:
        client.buckets_api().create_bucket(bucket_name="mixed", org=ORG)
        line = f'gpu,node=x,device_id=GPU-0 gpu_power_watts="text" {unix_ns(1)}'
        client.write_api(SYNCHRONOUS).write("mixed", record=line)
    recorder = recorded(opened(InfluxConfig(influx_server.url, "mixed", ORG, token_file)), [payload("back-j", 1)])
    assert recorder.figures()["dropped"] == 2
    assert from_influx(influx_server.url, "back-j", "record_sequence", "record", "mixed") == {("", unix_ns(1)): 1.0}


def test_what_is_too_large_for_the_server_goes_in_halves(
    store: Influx, influx_server: influx.Influx, monkeypatch: pytest.MonkeyPatch
) -> None:
    post, sizes = Influx._post, list[int]()

    def taken_if_small(self: Influx, body: bytes) -> None:
        """Neither server has such a limit as installed; a proxy before it may."""
        sizes.append(len(body))
        if len(body) > 1000:
            raise history_influx.InfluxError("too large", history_influx.influx.TOO_LARGE)
        post(self, body)

    monkeypatch.setattr(Influx, "_post", taken_if_small)
    recorded(store, [payload("back-k", sequence) for sequence in range(1, 21)])
    assert max(sizes) > 1000
    assert from_influx(influx_server.url, "back-k", "gpu_power_watts") == wanted("back-k", "gpu_power_watts", range(1, 21))


def test_over_https_who_signs_the_server_must_be_known(
    influx_program: None, proof: Certificate, token_file: Path, tmp_path: Path
) -> None:
    stop = threading.Event()
    stop.set()
    with influx.running(tmp_path, proof=proof) as server:
        trusted = InfluxConfig(server.url, BUCKET, ORG, token_file, proof.certificate)
        recorded(opened(trusted), [payload("back-l", sequence) for sequence in range(1, 4)])
        with InfluxDBClient(server.url, TOKEN, org=ORG, ssl_ca_cert=str(proof.certificate)) as client:
            asked = f'from(bucket: "{BUCKET}") |> range(start: 0) |> filter(fn: (r) => r._field == "gpu_power_watts") |> count()'
            assert sum(row.get_value() for table in client.query_api().query(asked) for row in table.records) == 6
        with pytest.raises(NotStored, match=r"influx\.ssl_ca_file: .* is not trusted with the system's file: .*certificate"):
            recorded(opened(replace(trusted, ssl_ca_file=None), stop), [payload("back-l", 4)])
        with pytest.raises(NotStored, match=r"influx\.ssl_ca_file: .* is not trusted with /nowhere: .*No such file"):
            recorded(opened(replace(trusted, ssl_ca_file=Path("/nowhere")), stop), [payload("back-l", 4)])


@pytest.fixture
def recorders(tmp_path: Path, kafka_broker: kafka.Broker, token_file: Path) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    started = list[subprocess.Popen[str]]()

    def start(url: str) -> subprocess.Popen[str]:
        file = tmp_path / "recorder.toml"
        bus = f'[bus]\nbootstrap = ["{kafka_broker.bootstrap}"]\n'
        file.write_text(f'{bus}[influx]\nurl = "{url}"\nbucket = "{BUCKET}"\norg = "{ORG}"\ntoken_file = "{token_file}"\n')
        command = [sys.executable, "-m", "gpuwarden.cli", "record", "--config", str(file), "--flush-s", "0.5", "--json"]
        with (tmp_path / "said").open("a") as said:
            started.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, text=True, env=os.environ))
        return started[-1]

    yield start
    for one in started:
        if one.poll() is None:
            one.kill()
        one.communicate()


def ended(recorder: subprocess.Popen[str]) -> dict[str, Any]:
    recorder.send_signal(signal.SIGTERM)
    told, _ = recorder.communicate(timeout=30)
    assert recorder.returncode == 0
    figures: dict[str, Any] = json.loads(told)
    return figures


@pytest.mark.timeout(240)
def test_a_server_that_is_gone_and_back_and_a_recorder_that_is_killed_lose_nothing(
    influx_program: None, kafka_broker: kafka.Broker, recorders: Callable[[str], subprocess.Popen[str]], tmp_path: Path
) -> None:
    folder, port, said, node = tmp_path / "influx", free_port(), tmp_path / "said", "gone-a"
    folder.mkdir()
    producer = connect(BusConfig(bootstrap=(kafka_broker.bootstrap,))).producer()

    def send(sequences: range) -> None:
        for sequence in sequences:
            producer.send(topics.TELEMETRY, node, payload(node, sequence))
        producer.flush(10)

    def there(sequences: range) -> bool:
        return from_influx(url, node, "gpu_power_watts") == wanted(node, "gpu_power_watts", sequences)

    with influx.running(folder, port) as server:
        url = server.url
        send(range(1, 100))
        first = recorders(url)
        eventually(lambda: there(range(1, 100)))
        server.kill()
        send(range(100, 200))
        eventually(lambda: f"influx.url: {url} does not answer" in said.read_text())
    first.kill()
    second = recorders(url)  # finds no server at all
    eventually(lambda: said.read_text().count("does not answer") == 2)
    send(range(200, 300))
    with influx.running(folder, port):
        eventually(lambda: there(range(1, 300)))
        figures = ended(second)
        assert figures["rows"]["gpu"] >= 2 * 200
        assert "takes it again" in said.read_text()
        assert said.read_text().count("does not answer") == 2
        third = recorders(url)  # goes on from what was committed
        send(range(300, 301))
        eventually(lambda: there(range(1, 301)))
        assert ended(third)["rows"]["record"] == 1
    producer.close()
