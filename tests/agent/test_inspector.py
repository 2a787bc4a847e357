"""NCCL Inspector's logs as the agent takes them up: rows that hold all that the lines do, and lines that are refused with the reason."""

import json
from array import array
from pathlib import Path
from typing import Any

import pytest

from gpuwarden.agent.collectors.inspector import Inspector
from gpuwarden.agent.collectors.inspector import open as open_inspector
from gpuwarden.agent.config import AgentConfig
from gpuwarden.agent.inspector_ring import HALF_BYTES, Ring
from gpuwarden.agent.inspector_rows import Process
from gpuwarden.agent.jobs import Jobs
from gpuwarden.agent.reading import TimedReading, TimesRow, Unsupported
from gpuwarden.agent.tail import Grown

LINE = (
    '{"header":{"id":"0x5c1f09a2b7d341","comm_name":"tp0","rank":3,"n_ranks":8,"nnodes":1},"metadata":{"inspector_output_format_version":"v4.0","git_rev":"",'
    '"rec_mechanism":"nccl_profiler_interface","dump_timestamp_us":1767225600123456,"hostname":"gpu-a01","pid":4242},"coll_perf":{"coll":"AllReduce",'
    '"coll_sn":912,"coll_msg_size_bytes":268435456,"coll_exec_time_us":1250,"coll_timing_source":"kernel_gpu","coll_algobw_gbs":214.748365,'
    '"coll_busbw_gbs":375.809638}}'
)
SENT = LINE.replace('"coll_perf":{"coll":"AllReduce","coll_sn":912,"coll_msg', '"p2p_perf":{"p2p":"Send","p2p_sn":7,"p2p_peer":2,"p2p_msg').replace("coll_exec", "p2p_exec")
VERBOSE = LINE[:-2] + ',"event_trace_sn":{"coll_start_sn":1,"coll_stop_sn":9,"kernel_events":[{"channel_id":0,"kernel_start_sn":2,"kernel_stop_sn":8,"kernel_record_sn":7}]}}}'


def process() -> Process:
    return Process(4242, frozenset({"gpu-a01"}))


def numbered(number: int, took_us: int = 1250, line: str = LINE) -> bytes:
    return line.replace('"coll_sn":912', f'"coll_sn":{number}').replace('time_us":1250', f'time_us":{took_us}').encode()


def uint32(packed: bytes) -> list[int]:
    return array("I", packed).tolist()


def test_operations_of_a_second_are_one_row_and_each_keeps_its_time() -> None:
    (row,) = process().rows([numbered(912, 1250), numbered(913, 1300), numbered(914, 1)])
    assert row == TimesRow("0x5c1f09a2b7d341", 3, 8, "AllReduce", None, 1 << 28, 1767225600123456, 912, b"", array("I", [1250, 1300, 1]).tobytes())


def test_numbers_that_do_not_follow_one_another_are_told() -> None:
    (row,) = process().rows([numbered(912), numbered(920), numbered(915)])
    assert (row.first, uint32(row.offsets)) == (912, [0, 8, 3])


def test_other_seconds_sizes_communicators_and_messages_are_other_rows() -> None:
    later, larger = LINE.replace("1767225600123456", "1767225601123456"), LINE.replace("268435456", "536870912")
    other = LINE.replace("0x5c1f09a2b7d341", "0x1")
    rows = process().rows(one.encode() for one in (LINE, later, larger, other, SENT))
    assert [(row.communicator, row.name, row.peer, row.size_bucket_bytes >> 20, row.dumped_us // 1_000_000 % 10) for row in rows] == [
        ("0x5c1f09a2b7d341", "AllReduce", None, 256, 0), ("0x5c1f09a2b7d341", "AllReduce", None, 256, 1), ("0x5c1f09a2b7d341", "AllReduce", None, 512, 0),
        ("0x1", "AllReduce", None, 256, 0), ("0x5c1f09a2b7d341", "Send", 2, 256, 0),
    ]  # fmt: skip


@pytest.mark.parametrize("line", [
    json.dumps(json.loads(LINE), indent=None), json.dumps(json.loads(LINE), sort_keys=True), VERBOSE, LINE.replace("1250", "1250.4"),
    LINE.replace('"tp0"', '"a\\/b{c}"'), LINE.replace('"inspector_output_format_version":"v4.0"', '"inspector_output_format_version":"v4.3"'), LINE + " ",
])  # fmt: skip
def test_a_line_that_looks_another_way_says_the_same(line: str) -> None:
    assert process().rows([line.encode()]) == process().rows([LINE.encode()])


def without(*path: str) -> str:
    whole: dict[str, Any] = json.loads(LINE)
    of = whole
    for key in path[:-1]:
        of = of[key]
    del of[path[-1]]
    return json.dumps(whole, separators=(",", ":"))


@pytest.mark.parametrize(("line", "why"), [
    (LINE.replace('"v4.0"', '"v5.0"'), "metadata.inspector_output_format_version: is 'v5.0', this reader knows v4.x"),
    (without("header", "id"), "header.id: is a NoneType, should be text"),
    (without("header", "rank"), "header.rank: is None, should be a whole number"),
    (without("coll_perf", "coll_sn"), "coll_perf.coll_sn: is None, should be a whole number"),
    (LINE.replace('"rank":3', '"rank":8'), "header.rank: is 8 of 8"),
    (LINE.replace("1250,", "4294967296,"), "coll_perf.coll_exec_time_us: is 4294967296, should be microseconds"),
    (LINE.replace("gpu-a01", "gpu-a02"), "metadata.hostname: is 'gpu-a02', which is not this node: inspector_dir has to be on the node's own disk"),
    (LINE[:-10], "line: is no JSON: Expecting"),
    ("[" * 100_000, "line: is no JSON: "),
    (LINE[:-1] + "]", "line: is no JSON: "),
])  # fmt: skip
def test_what_cannot_be_is_refused_with_the_field_and_the_reason(line: str, why: str) -> None:
    reader = process()
    assert len(reader.rows([line.encode(), line.encode(), LINE.encode()])) == 1  # the good one is read all the same
    assert reader.refused == 2
    assert [reason[: len(why)] for reason in reader.reasons] == [why]


def test_a_line_that_tells_of_no_operation_is_none() -> None:
    reader = process()
    assert reader.rows([b'{"dump_stats":{"header":{},"metadata":{}}}', b"", b"  "]) == ()
    assert reader.refused == 0


def collector(tmp_path: Path, ring: Ring | None = None) -> Inspector:
    (tmp_path / "logs" / "77").mkdir(parents=True)
    made = Inspector(tmp_path / "logs", frozenset({"gpu-a01"}), Jobs(tmp_path / "proc"), ring)
    made.collect()
    return made


def test_a_folder_is_a_job_and_a_file_a_process(tmp_path: Path) -> None:
    inspector = collector(tmp_path)
    (tmp_path / "logs" / "77" / "gpu-a01-pid4242.log").write_bytes(numbered(1) + b"\n" + numbered(2) + b"\n" + b"nonsense\n" + numbered(3)[:100])
    (tmp_path / "logs" / "77" / "other.txt").write_bytes(b"nothing of ours\n")
    reading = inspector.collect()
    (only,) = reading.comm
    assert isinstance(only, TimedReading) and (only.job, only.pid, len(only.rows)) == ("77", 4242, 1)
    assert reading.lacks == ("line: is no JSON: Expecting value: line 1 column 1 (char 0)",)
    assert inspector.collect().comm == ()
    inspector.close()


def test_the_kernels_word_for_a_job_goes_before_the_folders_name(tmp_path: Path) -> None:
    about = tmp_path / "proc" / "4242"
    about.mkdir(parents=True)
    (about / "stat").write_text("4242 (python) S" + " 1" * 30)
    (about / "cgroup").write_text("0::/system.slice/slurmstepd.scope/job_1234/step_0/user/task_0\n")
    inspector = collector(tmp_path)
    (tmp_path / "logs" / "77" / "gpu-a01-pid4242.log").write_bytes(numbered(1) + b"\n")
    assert [one.job for one in inspector.collect().comm] == ["1234"]
    inspector.close()


def test_the_newest_raw_lines_are_kept_and_no_more_than_twice_what_is_said(tmp_path: Path) -> None:
    ring = Ring(tmp_path / "ring")
    log, line = tmp_path / "77" / "gpu-a01-pid1.log", numbered(1)
    for _ in range(5):
        ring.keep(Grown(log, [line] * (HALF_BYTES // 2 // len(line)), 0))
    ring.keep(Grown(log, [numbered(2)], 0))
    ring.close()
    kept = sorted((tmp_path / "ring" / "77").iterdir())
    assert [file.name for file in kept] == ["gpu-a01-pid1-old.log", "gpu-a01-pid1.log"]
    assert HALF_BYTES < sum(file.stat().st_size for file in kept) <= 2 * HALF_BYTES
    assert kept[1].read_bytes().endswith(numbered(2) + b"\n")


def test_a_ring_that_cannot_be_written_is_said_and_nothing_else_is_lost(tmp_path: Path) -> None:
    ring = Ring(tmp_path / "ring")
    inspector = collector(tmp_path, ring)
    (tmp_path / "ring" / "77").write_text("in the way")
    (tmp_path / "logs" / "77" / "gpu-a01-pid4242.log").write_bytes(numbered(1) + b"\n")
    reading = inspector.collect()
    assert len(reading.comm) == 1 and reading.lacks[0].startswith("inspector_ring: ")
    inspector.close()


def test_it_is_left_out_where_there_is_no_folder(tmp_path: Path) -> None:
    for config in (AgentConfig(), AgentConfig(inspector_dir=tmp_path / "none")):
        with pytest.raises(Unsupported, match="inspector_dir"):
            open_inspector(config)
