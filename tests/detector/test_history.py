"""What a recorder takes can be read again, each row once, whatever crashed in between and whoever sent rubbish."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpuwarden.detector import history
from gpuwarden.detector.history import NotStored, Recorder
from gpuwarden.detector.history_door import BadHistory
from gpuwarden.detector.history_file import MAX_NS
from gpuwarden.detector.history_parquet import Parquet
from gpuwarden.detector.history_read import read
from gpuwarden.detector.history_table import DEVICES, SCHEMAS, matrix
from gpuwarden.proto.catalogue import BY_NAME, Device
from gpuwarden.proto.decode import decode
from gpuwarden.proto.encode import encode, encode_block
from gpuwarden.proto.telemetry_pb2 import DeviceEvent, GpuProcess

HOUR_NS = 3_600_000_000_000


def recorded(folder: Path, payloads: list[bytes], partition: int = 0, first: int = 0) -> Recorder:
    recorder = Recorder(Parquet(folder))
    for offset, payload in enumerate(payloads, first):
        recorder.take(partition, offset, payload)
    recorder.flush()
    return recorder


def all_of(folder: Path, kind: str, node: str = "gpu01") -> Any:
    return read(folder, kind, node, 0, MAX_NS)


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_every_reading_comes_back_as_it_was_decoded(tmp_path: Path, agent: Any) -> None:
    missing = {("GPU-3", "gpu_power_watts"): float("nan"), ("GPU-4", "gpu_power_watts"): 123.25}
    payloads = [agent.record(missing if n == 1 else None) for n in range(3)]
    recorded(tmp_path, payloads)
    assert all_of(tmp_path, "gpu").column("gpu_power_watts").null_count == 1
    for sample in map(decode, payloads):
        for kind, device in DEVICES.items():
            table = read(tmp_path, kind, sample.node, sample.unix_ns, sample.unix_ns + 1)
            (readings,) = [r for r in sample.readings if r.device is device]
            assert table.column("device_id").to_pylist() == sorted(readings.ids)
            assert set(table.column("sequence").to_pylist()) == {sample.sequence}
            assert set(table.column("agent_start").to_pylist()) == {sample.agent_start}
            np.testing.assert_array_equal(matrix(table, device), readings.values)


def test_events_come_back_with_their_time(tmp_path: Path, agent: Any) -> None:
    twice = DeviceEvent(kind="xid", device_id="GPU-1", code=79, message="fallen off the bus")
    recorded(tmp_path, [agent.record(), agent.record(events=[twice, twice])])
    rows = all_of(tmp_path, "event").to_pylist()
    assert [(row["sequence"], row["place"], row["event"], row["code"]) for row in rows] == [(2, 0, "xid", 79), (2, 1, "xid", 79)]
    assert {(row["unix_ns"], row["message"]) for row in rows} == {(agent.unix_ns, "fallen off the bus")}


def test_jobs_of_each_card_come_back_once_each_and_unknown_is_not_none(tmp_path: Path) -> None:
    counts = [[3.0], [0.0], [float("nan")], [1.0]]
    block = encode_block(Device.GPU, [f"GPU-{i}" for i in range(4)], [BY_NAME["gpu_processes"]], counts)
    processes = [GpuProcess(gpu_id="GPU-0", pid=pid, job_id=job, user="ada", job_class="low") for pid, job in enumerate(["71", "72", "71"])]
    recorded(tmp_path, [encode("gpu01", "start", 1, 1, [block], processes)])
    jobs = [{"job_id": job, "user": "ada", "job_class": "low"} for job in ("71", "72")]
    assert all_of(tmp_path, "gpu").column("jobs").to_pylist() == [jobs, [], None, None]


def test_only_the_asked_node_and_time_are_read(tmp_path: Path, agent_of: Callable[..., Any]) -> None:
    one, other = agent_of("gpu01"), agent_of("gpu02")
    recorded(tmp_path, [a.record() for _ in range(5) for a in (one, other)])
    table = read(tmp_path, "host", "gpu02", other.unix_ns - 2_000_000_000, other.unix_ns)
    assert table.column("sequence").to_pylist() == [3, 4]
    assert all_of(tmp_path, "host", "gpu03").num_rows == 0
    assert all_of(tmp_path / "nowhere", "gpu").schema == SCHEMAS["gpu"]


def test_a_file_holds_one_hour_and_lies_under_its_date(tmp_path: Path, agent: Any) -> None:
    recorded(tmp_path, [agent.record(period_s=3600.0) for _ in range(2)], partition=7, first=40)
    hosts = [name for name in names(tmp_path) if name.startswith("kind=host")]
    assert [name[:-21] for name in hosts] == [
        "kind=host/date=2023-11-14/23-007-00000000000000000040-00000000000000000040",
        "kind=host/date=2023-11-15/00-007-00000000000000000041-00000000000000000041",
    ]
    second_ns = agent.unix_ns - agent.unix_ns % HOUR_NS
    assert read(tmp_path, "host", "gpu01", second_ns, second_ns + HOUR_NS).column("sequence").to_pylist() == [2]


def test_records_that_are_written_again_after_a_crash_replace_their_files(tmp_path: Path, agent: Any) -> None:
    payloads = [agent.record() for _ in range(4)]
    recorded(tmp_path, payloads)
    before = names(tmp_path)
    recorded(tmp_path, payloads)
    assert names(tmp_path) == before


@pytest.mark.parametrize("split", [1, 2, 3])
def test_records_that_are_written_again_in_other_files_are_read_once(tmp_path: Path, agent: Any, split: int) -> None:
    xid = DeviceEvent(kind="xid", device_id="GPU-1", code=79)
    payloads = [agent.record(events=[xid]) for _ in range(4)]
    recorded(tmp_path, payloads)
    recorded(tmp_path, payloads[:split])
    recorded(tmp_path, payloads[split:] + payloads[-1:], first=split)
    assert all_of(tmp_path, "host").column("sequence").to_pylist() == [1, 2, 3, 4]
    assert all_of(tmp_path, "gpu").num_rows == 4 * 8
    assert all_of(tmp_path, "event").column("sequence").to_pylist() == [1, 2, 3, 4]


def test_other_records_at_the_same_offsets_overwrite_nothing(tmp_path: Path, agent_of: Callable[..., Any]) -> None:
    """A topic that is made anew counts from 0 again."""
    recorded(tmp_path, [agent_of("gpu01", "a").record()])
    recorded(tmp_path, [agent_of("gpu01", "b").record()])
    assert sorted(all_of(tmp_path, "host").column("agent_start").to_pylist()) == ["a", "b"]


def test_rubbish_is_counted_told_of_once_and_passed_over(tmp_path: Path, agent: Any, caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder(Parquet(tmp_path))
    for offset, payload in enumerate([b"noise", agent.record(), b"\xff\xff", encode("n", "s", 0, 1, [])]):
        recorder.take(3, offset, payload)
    assert recorder.flush() == {3: 4}
    assert recorder.counts.refused == {"payload": 2, "sequence": 1}
    assert (recorder.counts.samples, recorder.counts.rows) == (1, {"gpu": 8, "host": 1, "nic": 1})
    told = [record.getMessage() for record in caplog.records]
    assert told[0].startswith("partition 3, offset 0 is left out: payload: ")
    assert told[1:] == ["partition 3, offset 3 is left out: sequence: is 0, counting starts at 1"]


def test_a_clock_that_is_far_off_is_recorded_as_it_is(tmp_path: Path) -> None:
    event = DeviceEvent(kind="xid", device_id="GPU-1", code=-(2**63))
    recorded(tmp_path, [encode("n", "s", 2**64 - 1 - unix_ns, unix_ns, [], events=[event]) for unix_ns in (0, MAX_NS - 1)])
    assert all_of(tmp_path, "event", "n").column("unix_ns").to_pylist() == [0, MAX_NS - 1]


def test_what_waits_is_bounded(tmp_path: Path, agent: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    each = history.SAMPLE_BYTES + sum(readings.values.nbytes for readings in decode(agent.record()).readings)
    monkeypatch.setattr(history, "MOST_BYTES", 3 * each)
    recorder = Recorder(Parquet(tmp_path))
    for offset in range(4):
        recorder.take(0, offset, agent.record())
    assert all_of(tmp_path, "host").num_rows == 3
    assert recorder.flush() == {0: 4}
    assert recorder.flush() == {}


def test_jobs_count_among_what_waits(tmp_path: Path, agent: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MOST_BYTES", 100_000)
    recorder = Recorder(Parquet(tmp_path))
    processes = [GpuProcess(gpu_id="GPU-0", pid=pid, job_id=str(pid)) for pid in range(200)]
    for offset in range(3):
        recorder.take(0, offset, agent.record(processes=processes))
    assert all_of(tmp_path, "host").num_rows == 3


def test_long_messages_count_by_their_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MOST_BYTES", 100_000)
    recorder = Recorder(Parquet(tmp_path))
    event = DeviceEvent(kind="xid", device_id="GPU-1", message="x" * 40_000)
    for sequence in range(1, 5):
        recorder.take(0, sequence, encode("n", "s", sequence, 1, [], events=[event]))
    assert all_of(tmp_path, "event", "n").num_rows == 3


def test_offsets_of_what_cannot_be_written_are_not_given_out(tmp_path: Path, agent: Any) -> None:
    recorder = Recorder(Parquet(tmp_path / "history"))
    recorder.take(0, 0, agent.record())
    (tmp_path / "history").write_text("in the way")
    with pytest.raises(NotStored, match="Not a directory"):
        recorder.flush()
    (tmp_path / "history").unlink()
    assert recorder.flush() == {0: 1}
    assert all_of(tmp_path / "history", "host").num_rows == 1


def test_a_crash_in_the_middle_of_a_file_leaves_nothing_that_is_read(
    tmp_path: Path, agent: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    payload = agent.record()
    with monkeypatch.context() as crash:
        crash.setattr(os, "fsync", lambda handle: (_ for _ in ()).throw(OSError("power is gone")))
        with pytest.raises(OSError, match="power is gone"):
            recorded(tmp_path, [payload])
    assert names(tmp_path) == []
    left = tmp_path / "kind=host" / "date=2023-11-14" / ".22-000-0-0-0.parquet.unfinished"
    recorded(tmp_path, [payload])
    left.write_bytes(b"PAR1")
    assert all_of(tmp_path, "host").num_rows == 1


def test_a_file_that_is_damaged_is_named(tmp_path: Path, agent: Any) -> None:
    recorded(tmp_path, [agent.record()])
    (path,) = tmp_path.glob("kind=host/*/*.parquet")
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(BadHistory, match=path.name):
        all_of(tmp_path, "host")


def test_a_file_from_before_a_metric_was_known_reads_as_no_reading(tmp_path: Path, agent: Any) -> None:
    import pyarrow.parquet as pq  # type: ignore[import-untyped]  # has no types

    recorded(tmp_path, [agent.record()])
    (path,) = tmp_path.glob("kind=host/*/*.parquet")
    pq.write_table(pq.read_table(path, partitioning=None).drop_columns(["host_load1"]), path)
    assert all_of(tmp_path, "host").column("host_load1").to_pylist() == [None]
