"""Running jobs that are slow, from NCCL Inspector's growing logs through agents to findings; and rows of seconds beside the lines that they were made of."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
from fakes.inspected_job import Inspected

from gpuwarden.core.nccl.process import Process
from gpuwarden.detector.comm.again import MOST, Again
from gpuwarden.detector.comm.slow import verdict_on
from gpuwarden.detector.comm.table import ROW_COSTS, WINDOW_US, Table
from gpuwarden.detector.comm.timings import Timings
from gpuwarden.detector.events import DeadLetter, Polled, PublishFinding, Raw, Tick
from gpuwarden.detector.machine import Detector, DetectorSetup
from gpuwarden.proto.comm_pb2 import CommTimes
from gpuwarden.proto.decode_comm import Timed, decode_comm
from gpuwarden.proto.finding_pb2 import Finding, FindingState
from gpuwarden.sim.comm.job import Job
from gpuwarden.sim.comm.shape import Fault, Shape

PACE = 40.0  # a second of virtual time has few operations, so that there are many seconds


def found(seconds: Iterable[list[Raw]]) -> Iterator[tuple[float, Finding]]:
    detector, now_s = Detector(DetectorSetup()), 1000.0
    for raws in seconds:
        now_s += 1.0
        for action in (*detector.step(now_s, Polled(tuple(raws))), *detector.step(now_s, Tick(int(now_s * 1e9)))):
            assert not isinstance(action, DeadLetter), action
            if isinstance(action, PublishFinding):
                yield now_s, Finding.FromString(action.payload)


@pytest.mark.parametrize(("fault", "kind", "node", "subject"), [
    (Fault("slow_gpu", 9, 0.15), "rank_slow", "host1", "j1/9"),
    (Fault("slow_nic", 1, 0.6), "network_slow", "host1", "j1"),
])  # fmt: skip
def test_what_makes_a_job_slow_is_named_while_it_runs(tmp_path: Path, fault: Fault, kind: str, node: str, subject: str) -> None:
    job = Inspected(tmp_path)
    (at_s, finding), *more = found(job.seconds(Job(Shape(8, 4, 1, microbatches=2), (fault,), 1, True, PACE).run(24)))
    job.close()
    assert (finding.kind, finding.subject.node, finding.subject.id, more) == (kind, node, subject, [])
    assert at_s < 1060


def test_nobody_is_named_in_a_sound_job_nor_where_a_clock_is_set(tmp_path: Path) -> None:
    job = Inspected(tmp_path)

    def seconds() -> Iterator[list[Raw]]:
        for second, raws in enumerate(job.seconds(Job(Shape(4, 1, 4), (), 3, True, PACE).run(60))):
            job.clock_off_us = {20: 3_600_000_000, 40: -3_600_000_000}.get(second, job.clock_off_us)
            yield raws

    assert [*found(seconds())] == []
    job.close()


@pytest.mark.parametrize("faults", [(Fault("slow_gpu", 13, 0.1),), (Fault("slow_host", 1, 0.2), Fault("slow_nic", 2, 0.6)), ()])
def test_rows_and_lines_say_the_same(tmp_path: Path, faults: tuple[Fault, ...]) -> None:
    done = [*Job(Shape(4, 4, 2, microbatches=2, expert=2), faults, 3, True, PACE).run(22)]
    timings, table, job = Timings(), Table(), Inspected(tmp_path)
    timings.take(done)
    for raws in job.seconds(iter(done)):
        take(table, raws)
    job.close()
    newest = table.newest(WINDOW_US)
    assert sorted((one.kind, one.period_us) for one in newest.together()) == sorted((one.kind, one.period_us) for one in timings.together())
    assert newest.delays_us() == timings.delays_us()
    assert newest.in_messages_us() == pytest.approx(timings.in_messages_us())
    assert verdict_on(newest) == verdict_on(timings)
    assert bool(verdict_on(newest).findings) is bool(faults)


def take(table: Table, raws: Iterable[Raw]) -> None:
    for raw in raws:
        said = decode_comm(raw.payload)
        assert isinstance(said, Timed)
        table.take(1000.0, Process(said.node, said.pid), said.times)


def times(second: int, count: int = 10) -> CommTimes:
    return CommTimes(
        communicator="c", rank=0, rank_count=2, operation="AllReduce", dumped_us=second * 1_000_000, first_sequence=count * second,
        took_us=np.full(count, 5, "<u4").tobytes(),
    )  # fmt: skip


def test_a_table_keeps_no_more_than_it_may() -> None:
    table, processes = Table(), [Process("n1", pid) for pid in range(4)]
    for second in range(1000):
        for process in processes:
            table.take(float(second), process, [times(second)], most=100 * ROW_COSTS)
            assert table.operations <= 100 * ROW_COSTS
    assert 10_000_000 < table.window_us < 30_000_000
    table.take(2000.0, processes[0], [times(1000)])  # the others have ended
    assert table.operations < 30 * ROW_COSTS


def test_a_clock_that_is_set_back_makes_the_table_begin_anew() -> None:
    table = Table()
    for second in (1000, 1001, 500, 501):
        table.take(1.0, Process("n1", 1), [times(second)])
    assert [row.dumped_us // 1_000_000 for row in table.newest(WINDOW_US).rows[Process("n1", 1)]] == [500, 501]


def test_where_nothing_comes_any_more_nothing_fires(tmp_path: Path) -> None:
    job = Inspected(tmp_path)
    seconds = [*job.seconds(Job(Shape(4, 1, 4), (Fault("slow_gpu", 9, 0.15),), 1, True, PACE).run(24))]
    job.close()
    told = [(finding.kind, finding.state) for _, finding in found([*seconds, *[list[Raw]()] * 130])]
    assert told == [("rank_slow", FindingState.FINDING_STATE_FIRING), ("rank_slow", FindingState.FINDING_STATE_RESOLVED)]


def test_again_and_again_is_more_often_than_not() -> None:
    again = Again[str]()
    turns = [again.turn(named) for named in (["a"], [], ["a"], ["a"], ["a"])]
    assert [bool(firing) for firing in turns] == [False] * 4 + [True]
    for _ in range(10):
        again.turn(["a"])
    assert [bool(again.turn([])) for _ in range(MOST)] == [True] * (MOST - 1) + [False]
