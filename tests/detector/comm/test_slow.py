"""Simulated jobs made slow by a card, a host or a network whose place is known: that is named, by lateness alone, without a clock."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gpuwarden.cli.main import main
from gpuwarden.core.nccl.fields import Bad
from gpuwarden.core.nccl.inspector import Done, read
from gpuwarden.core.nccl.process import Process
from gpuwarden.detector.comm.inspector_folder import logs_in
from gpuwarden.detector.comm.slow import verdict_on
from gpuwarden.detector.comm.timings import Timings
from gpuwarden.detector.comm.verdict import Verdict
from gpuwarden.sim.comm.block import Block
from gpuwarden.sim.comm.job import Job
from gpuwarden.sim.comm.shape import Fault, Shape
from gpuwarden.sim.comm.spoilt import lost, overwritten, renewed, uneven, without
from gpuwarden.sim.comm.tables import Tables
from gpuwarden.sim.comm.written import line, write

SHAPES = [Shape(8, 2, 4), Shape(4, 4, 2), Shape(8, 1, 4)]
DONE = Done("0x5c1f09a2b7d341", 3, 8, Process("gpu-a01", 4242), "AllReduce", 912, 268435456, 1250.0, None, 1767225600123456)
SAMPLE = (
    b'{"header":{"id":"0x5c1f09a2b7d341","comm_name":"tp0","rank":3,"n_ranks":8,"nnodes":1},"metadata":{"inspector_output_format_version":"v4.0","git_rev":"",'
    b'"rec_mechanism":"nccl_profiler_interface","dump_timestamp_us":1767225600123456,"hostname":"gpu-a01","pid":4242},"coll_perf":{"coll":"AllReduce",'
    b'"coll_sn":912,"coll_msg_size_bytes":268435456,"coll_exec_time_us":1250,"coll_timing_source":"kernel_gpu","coll_algobw_gbs":214.748365,'
    b'"coll_busbw_gbs":375.809638}}'
)


def judged(job: Job, steps: int = 24) -> Verdict:
    tables = Tables()
    tables.take(job.blocks(steps))
    return verdict_on(tables)


@pytest.mark.parametrize("rank", [0, 5, 27])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_slow_card_is_named_and_its_victims_are_not(shape: Shape, rank: int) -> None:
    (finding,) = judged(Job(shape, (Fault("slow_gpu", rank, 0.08),), seed=rank)).findings
    assert (finding.ranks, finding.syndrome, finding.kind) == ((rank,), "non-communication slow", "slow")
    assert "it is late by itself" in finding.evidence[1]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("messages", [True, False])
def test_nobody_is_named_in_a_healthy_job(shape: Shape, messages: bool) -> None:
    for seed in range(2):
        assert judged(Job(shape, (), seed, messages)).findings == ()


@pytest.mark.parametrize("faults", [(Fault("slow_gpu", 13, 0.1),), (Fault("slow_host", 2, 0.2), Fault("slow_nic", 5, 0.5))])
@pytest.mark.parametrize("messages", [True, False])
def test_lines_and_tables_say_the_same(faults: tuple[Fault, ...], messages: bool) -> None:
    timings = Timings()
    timings.take(Job(Shape(8, 2, 4, expert=2), faults, 3, messages).run(24))
    verdict = verdict_on(timings)
    assert verdict.findings
    assert verdict == judged(Job(Shape(8, 2, 4, expert=2), faults, 3, messages))


def test_two_slow_cards_are_two_findings() -> None:
    faults = (Fault("slow_gpu", 3, 0.1), Fault("slow_gpu", 41, 0.12))
    assert [one.ranks for one in judged(Job(Shape(8, 2, 4), faults, seed=4)).findings] == [(3,), (41,)]


def test_a_slow_host_is_named_where_messages_are_logged_and_otherwise_said_to_be_untold() -> None:
    faults = (Fault("slow_host", 4, 0.3),)
    (finding,) = judged(Job(Shape(8, 2, 4), faults, seed=2, messages=True)).findings
    assert finding.ranks == tuple(range(32, 40))
    verdict = judged(Job(Shape(8, 2, 4), faults, seed=2))
    assert all(one.kind == "unknown" and "the logs hold no messages" in one.evidence[1] for one in verdict.findings)
    assert set(range(32, 40)) <= {rank for one in verdict.findings for rank in one.ranks}


@pytest.mark.parametrize("host", [0, 3, 6])
def test_a_slow_network_is_named_as_closely_as_the_logs_tell(host: int) -> None:
    faults, own = (Fault("slow_nic", host, 0.6),), set(range(8 * host, 8 * host + 8))
    (finding,) = judged(Job(Shape(8, 2, 4), faults, seed=host, messages=True)).findings
    assert (set(finding.ranks), finding.syndrome, finding.kind) == (own, "communication slow", "slow_path")
    (rough,) = (one for one in judged(Job(Shape(8, 2, 4), faults, seed=host)).findings if one.kind == "slow_path")
    assert own < set(rough.ranks)
    assert "one of host" in rough.evidence[0]


def test_two_slow_parts_are_two_findings_and_one_without_messages_is_no_closer_than_it_can_be() -> None:
    faults = (Fault("slow_gpu", 30, 0.3), Fault("slow_host", 6, 0.1))
    told = judged(Job(Shape(8, 4, 2), faults, 7, messages=True, pace=50.0)).findings
    assert [one.ranks for one in told] == [(30,), tuple(range(48, 56))]
    (network,) = judged(Job(Shape(8, 4, 2), (Fault("slow_nic", 3, 1.0),), 7)).findings
    assert network.ranks == (*range(24, 32), *range(56, 64))


def test_a_slow_fabric_is_nobody_s_fault() -> None:
    assert judged(Job(Shape(8, 2, 4), (Fault("slow_fabric", 0, 0.6),), seed=1, messages=True)).findings == ()


def test_lines_are_read_as_they_are_documented_and_written_alike() -> None:
    assert read(SAMPLE) == DONE
    assert read(line(DONE).encode()) == DONE
    message = Done("0xa", 1, 4, Process("a/b", 7), "Send", 3, 100, 5.0, 2, 9)
    assert read(line(message).encode()) == message
    assert read(b'{"header":{},"metadata":{},"dump_stats":{}}') is None


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ((b'"coll_exec_time_us":1250', b'"coll_exec_time_us":-1'), "coll_perf.coll_exec_time_us: is -1, should be microseconds"),
        ((b'"rank":3', b'"rank":8'), "header.rank: is 8 of 8"),
        ((b'"pid":4242', b'"pid":"x"'), "metadata.pid: is 'x', should be a whole number"),
        ((b'"id":"0x5c1f09a2b7d341",', b""), "header.id: is a NoneType, should be text"),
        ((b'"id":"0x5c1f09a2b7d341",', b'"id":"",'), "header.id: is empty"),
        ((b'"header":{', b'"head":{'), "header: is a NoneType, should be a mapping"),
        ((b"}}", b"}"), "line: is no JSON"),
    ],
)
def test_what_is_no_line_is_refused_with_the_field_and_the_reason(changed: tuple[bytes, bytes], says: str) -> None:
    with pytest.raises(Bad, match=says):
        read(SAMPLE.replace(*changed))


def test_a_folder_leaves_out_what_it_cannot_read_and_says_so(tmp_path: Path) -> None:
    write(tmp_path, Job(Shape(4, 1, 2), (), seed=1).run(2))
    file = tmp_path / "host0-pid4000.log"
    whole = logs_in(tmp_path).operations
    file.write_bytes(file.read_bytes() + b"nonsense\n" + b"x" * (3 << 20) + b"\n" + SAMPLE + b"\n" + SAMPLE[:50])
    logs = logs_in(tmp_path)
    assert logs.operations == whole + 1
    assert list(logs.refused) == ["host0-pid4000.log"]
    assert "line: is no JSON" in logs.refused["host0-pid4000.log"]
    assert "and 1 more lines" in logs.refused["host0-pid4000.log"]


def test_from_simulation_to_verdict_by_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "job"
    assert main(["sim", "comm", "--tensor", "4", "--pipeline", "2", "--data", "2", "--fault", "slow_gpu@6=0.1", "--out", str(folder)]) == 0
    assert main(["diagnose", str(folder)]) == 0
    assert "rank 6, process 4006 on host0: late by" in capsys.readouterr().out
    assert main(["sim", "comm", "--out", str(folder)]) == 2
    assert main(["sim", "comm", "--fault", "slow_gpu@99=0.1", "--out", str(tmp_path / "other")]) == 2
    assert "--fault: slow_gpu at 99, the job has 64, counted from 0" in capsys.readouterr().err
    hung = tmp_path / "hung"
    assert main(["sim", "comm", "--tensor", "4", "--data", "2", "--expert", "2", "--fault", "stuck_gpu@6", "--out", str(hung)]) == 0
    assert main(["diagnose", str(hung)]) == 0
    assert "rank 6: its device has work pending that its peers have done" in capsys.readouterr().out
    assert main(["sim", "comm", "--expert", "3", "--out", str(tmp_path / "other")]) == 2
    assert main(["sim", "comm", "--fault", "gremlins", "--out", str(tmp_path / "other")]) == 2
    said = capsys.readouterr().err
    assert "--expert: is 3, should divide --data, which is 4" in said
    assert "--fault: is 'gremlins', should be such as slow_gpu@3=0.1 or stuck_gpu@3" in said


TROUBLES: list[Callable[[Iterator[Block]], Iterator[Block]]] = [
    lambda blocks: lost(blocks, 0.2, seed=1),
    lambda blocks: overwritten(blocks, 4),
    lambda blocks: without(blocks, [9, 40]),
    uneven,
    lambda blocks: renewed(blocks, 20),
]


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("fault", [Fault("slow_gpu", 13, 0.1), Fault("slow_host", 2, 0.3), Fault("slow_nic", 6, 0.6)])
def test_records_may_be_lost_overwritten_missing_uneven_or_of_renewed_communicators(trouble: Callable[[Iterator[Block]], Iterator[Block]], fault: Fault) -> None:
    shape, tables = Shape(8, 2, 4), Tables()
    tables.take(trouble(Job(shape, (fault,), 5, messages=True, pace=50.0).blocks(40)))
    (finding,) = verdict_on(tables).findings
    assert set(finding.ranks) == fault.ranks(shape)
