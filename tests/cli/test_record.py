"""The recorder as a process of its own: what it said is recorded is there, once, however it ended."""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from services import kafka
from services.port import free_port

from gpuwarden.cli import record
from gpuwarden.core.bus import BusConfig, Producer
from gpuwarden.core.config import ConfigError
from gpuwarden.core.connect import connect
from gpuwarden.detector.history_file import MAX_NS
from gpuwarden.detector.history_read import read
from gpuwarden.proto import topics
from gpuwarden.proto.catalogue import BY_NAME, Device
from gpuwarden.proto.encode import encode, encode_block

COMMAND = [sys.executable, "-m", "gpuwarden.cli", "record"]
EVENTUALLY_S = 45.0

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "history"


@pytest.fixture
def start(tmp_path: Path, out: Path) -> Iterator[Start]:
    started = list[subprocess.Popen[str]]()

    def one(bootstrap: str, *more: str) -> subprocess.Popen[str]:
        command = [*COMMAND, "--bootstrap", bootstrap, "--out", str(out), *more]
        with (tmp_path / "said").open("a") as said:
            started.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, text=True, env=os.environ))
        return started[-1]

    yield one
    for recorder in started:
        if recorder.poll() is None:
            recorder.kill()
        recorder.communicate()


@pytest.fixture
def producer(kafka_broker: kafka.Broker) -> Iterator[Producer]:
    made = connect(BusConfig(bootstrap=(kafka_broker.bootstrap,))).producer()
    yield made
    made.close()


def payload(node: str, sequence: int) -> bytes:
    block = encode_block(Device.GPU, ["GPU-0"], [BY_NAME["gpu_power_watts"]], [[500.0 + sequence]])
    return encode(node, "start", sequence, time.time_ns(), [block])


def send(producer: Producer, node: str, sequences: range) -> None:
    for sequence in sequences:
        producer.send(topics.TELEMETRY, node, payload(node, sequence))
    producer.flush(10)


def powers(out: Path, node: str) -> dict[int, float]:
    table = read(out, "gpu", node, 0, MAX_NS)
    sequences = table.column("sequence").to_pylist()
    assert len(set(sequences)) == len(sequences)
    return dict(zip(sequences, table.column("gpu_power_watts").to_pylist(), strict=True))


def eventually(true: Callable[[], bool]) -> None:
    end_s = time.monotonic() + EVENTUALLY_S
    while not true():
        assert time.monotonic() < end_s, f"not within {EVENTUALLY_S} s"
        time.sleep(0.1)


def stop(recorder: subprocess.Popen[str]) -> str:
    recorder.send_signal(signal.SIGTERM)
    told, _ = recorder.communicate(timeout=30)
    assert recorder.returncode == 0
    return told


def test_telemetry_from_kafka_is_in_the_files_and_the_summary_says_what_was_left_out(
    kafka_broker: kafka.Broker, producer: Producer, start: Start, out: Path, tmp_path: Path
) -> None:
    send(producer, "record-a", range(1, 4))
    producer.send(topics.TELEMETRY, "record-a", b"noise")
    recorder = start(kafka_broker.bootstrap, "--flush-s", "1", "--json")
    eventually(lambda: len(powers(out, "record-a")) == 3)
    send(producer, "record-a", range(4, 6))
    eventually(lambda: len(powers(out, "record-a")) == 5)
    told = json.loads(stop(recorder))
    assert powers(out, "record-a") == {n: 500.0 + n for n in range(1, 6)}
    assert (told["samples"] >= 5, told["rows"]["gpu"] >= 5, told["refused"]["payload"] >= 1) == (True, True, True)
    assert told["files"] == len(list(out.rglob("*.parquet")))
    assert told["bytes"] == sum(path.stat().st_size for path in out.rglob("*.parquet"))
    assert "is left out: payload: " in (tmp_path / "said").read_text()


def test_a_stop_writes_what_waits_and_the_next_recorder_goes_on_from_there(
    kafka_broker: kafka.Broker, producer: Producer, start: Start, out: Path, tmp_path: Path
) -> None:
    send(producer, "record-b", range(1, 3))
    producer.send(topics.TELEMETRY, "record-b", b"noise")  # comes after them, and is told of at once
    recorder = start(kafka_broker.bootstrap, "--flush-s", "600")
    eventually(lambda: "is left out" in (tmp_path / "said").read_text())
    assert powers(out, "record-b") == {}
    told = stop(recorder)
    assert powers(out, "record-b") == {1: 501.0, 2: 502.0}
    assert re.fullmatch(r"2 samples \(2 of gpu\) in 1 files, 0\.0 MB, in .*\n1 records were left out: payload\n", told)
    send(producer, "record-b", range(3, 4))
    again = start(kafka_broker.bootstrap, "--flush-s", "1", "--json")
    eventually(lambda: 3 in powers(out, "record-b"))
    assert json.loads(stop(again))["rows"] == {"gpu": 1}


def test_a_recorder_that_is_killed_loses_nothing_and_doubles_nothing(
    kafka_broker: kafka.Broker, producer: Producer, start: Start, out: Path
) -> None:
    """It is killed as soon as its first file is there, which may be before its offsets are committed."""
    send(producer, "record-c", range(1, 50))
    recorder = start(kafka_broker.bootstrap, "--flush-s", "0.5")
    eventually(lambda: any(out.rglob("*.parquet")))
    recorder.kill()
    send(producer, "record-c", range(50, 60))
    second = start(kafka_broker.bootstrap, "--flush-s", "0.5")
    eventually(lambda: len(powers(out, "record-c")) == 59)
    stop(second)
    assert powers(out, "record-c") == {n: 500.0 + n for n in range(1, 60)}


def test_without_kafka_it_waits_says_so_and_stops_in_time(start: Start, tmp_path: Path) -> None:
    recorder = start(f"127.0.0.1:{free_port()}", "--duration", "5")
    told, _ = recorder.communicate(timeout=30)
    assert (recorder.returncode, told[:10]) == (0, "0 samples ")
    assert "waiting for Kafka" in (tmp_path / "said").read_text()


def verb(*words: str) -> int:
    parser = argparse.ArgumentParser()
    record.add(parser.add_subparsers())
    args = parser.parse_args(["record", *words])
    return int(args.run(args))


def test_a_broker_that_is_no_address_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--bootstrap"):
        verb("--bootstrap", "nobroker", "--out", str(tmp_path))


def test_a_place_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigError, match=r"--out: .*/file.*not committed"):
        verb("--bootstrap", "127.0.0.1:1", "--out", str(tmp_path / "file"), "--duration", "5")


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "soon"])
def test_a_time_that_is_none_is_refused(seconds: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        verb("--bootstrap", "127.0.0.1:1", "--out", str(tmp_path), "--flush-s", seconds)
    assert "--flush-s" in capsys.readouterr().err


def test_a_recorder_is_told_one_place_and_not_two(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--out: is missing, and there is no file with an \[influx\] table"):
        verb("--bootstrap", "127.0.0.1:1")
    file = tmp_path / "recorder.toml"
    file.write_text('[bus]\nbootstrap = ["127.0.0.1:1"]\n[influx]\nurl = "http://127.0.0.1:1"\nbucket = "b"\n')
    with pytest.raises(ConfigError, match=r"--out: .* has an \[influx\] table too"):
        verb("--config", str(file), "--out", str(tmp_path))
