"""Running jobs in virtual time: who is named, when, and what is no fault."""

from fakes.judged_job import Judged
from fakes.told_job import ToldJob
from hypothesis import given, settings
from hypothesis import strategies as st

from gpuwarden.detector.comm import live_claims, verdict
from gpuwarden.detector.comm.live_hang import ENDED, STALLED, Hang
from gpuwarden.detector.comm.live_job import LiveJob, LiveRank
from gpuwarden.detector.comm.pace import WINDOW, Rows
from gpuwarden.detector.comm.patience import LEAST_S, START_S
from gpuwarden.detector.comm.verdict import DEVICE, OUTSIDE, UNKNOWN, Verdict
from gpuwarden.detector.events import Commit, DeadLetter, Polled, Raw, Tick
from gpuwarden.detector.machine import Detector, DetectorSetup
from gpuwarden.proto import topics
from gpuwarden.proto.comm_pb2 import COMM_END_LEFT, COMM_END_RAISED, COMM_END_SILENT, CommSummary

LOST = "RuntimeError: [third_party/gloo/gloo/transport/tcp/pair.cc:561] Connection closed by peer [127.0.0.1]:3488"


def test_who_says_nothing_while_others_wait_for_it_is_named_and_it_is_over_when_they_go_on() -> None:
    judged = Judged(ToldJob()).run(60)
    judged.job.silent.add(2)
    began_s = judged.job.now_s
    judged.run(25)
    (at_s, kind, subject, _) = judged.said[0]
    assert (kind, subject) == ("rank_hang", "42/2") and LEAST_S < at_s - began_s < LEAST_S + 4
    assert "stalled" in judged.findings[0].summary and "non-communication hang" in judged.findings[0].summary
    judged.job.silent.clear()
    judged.run(5)
    assert not judged.firing and len(judged.said) == 2


def test_as_a_job_goes_on_some_say_so_later_than_others_and_that_is_no_hang() -> None:
    judged = Judged(ToldJob()).run(60)
    judged.job.silent = {2}
    judged.run(25)
    judged.job.silent, judged.job.absent = set(), {99}  # it asks, and what was done is not yet said
    judged.run(2)
    judged.job.absent = set()
    judged.run(5)
    assert [(kind, fires) for _, kind, _, fires in judged.said] == [("rank_hang", True), ("rank_hang", False)]


def test_who_speaks_and_does_not_come_is_stuck_outside_the_library() -> None:
    judged = Judged(ToldJob()).run(60)
    judged.job.absent.add(1)
    judged.run(25)
    assert judged.firing == {("rank_hang", "42/1")} and "lock_gil" in judged.findings[0].summary


def test_where_all_wait_and_nobody_is_behind_the_job_is_named_and_no_rank() -> None:
    judged = Judged(ToldJob()).run(60)
    judged.job.hung_since_s = judged.job.now_s
    judged.job.late_s = {0: 1e9}  # nobody steps
    for second in range(25):
        judged.job.hung_since_s = judged.job.now_s - second
        judged.job.absent = {99}  # none of them
        judged.run(1)
    assert judged.firing == {("job_hang", "42")}


def test_the_first_to_go_without_a_word_is_dead_if_others_lost_it() -> None:
    judged = Judged(ToldJob()).run(30)
    ends = [judged.job.end(3, COMM_END_SILENT, 0.5), judged.job.end(0, COMM_END_RAISED, 0.48, LOST), judged.job.end(1, COMM_END_SILENT, 0.3), judged.job.end(2, COMM_END_SILENT, 0.29)]
    judged.run(6, *ends)
    assert judged.firing == {("rank_dead", "42/3")} and "ranks 0 then lost it" in judged.findings[0].summary


def test_where_all_others_were_ended_before_they_could_say_a_word_the_launcher_bears_witness() -> None:
    judged = Judged(ToldJob()).run(30)
    judged.run(6, *(judged.job.end(rank, COMM_END_SILENT, age_s) for rank, age_s in ((1, 0.14), (0, 0.06), (2, 0.05), (3, 0.04))))
    assert not judged.said
    judged.run(2, judged.job.launcher_ends("ChildFailedError: train.py FAILED"))
    assert judged.firing == {("rank_dead", "42/1")} and "the launcher then ended the others" in judged.findings[0].summary


def test_of_two_that_may_wait_for_each_other_the_one_that_does_not_run_is_named() -> None:
    judged = Judged(ToldJob(pairs=True)).run(60)
    judged.job.silent.add(0)
    judged.job.in_pair.add(1)
    assert judged.run(25).firing == {("rank_hang", "42/0")}


def test_who_waits_bears_witness_as_well() -> None:
    judged = Judged(ToldJob()).run(30)
    judged.run(8, judged.job.end(3, COMM_END_SILENT, 0.5))
    assert judged.firing == {("rank_dead", "42/3")}
    judged.run(30)
    assert judged.firing == {("rank_dead", "42/3")}  # and it is not told again as a hang
    judged.run(30, *(judged.job.end(rank, COMM_END_SILENT, 0.1) for rank in range(3)))
    assert judged.firing == {("rank_dead", "42/3")}  # nor over when those who waited have ended too


def test_an_exception_of_its_own_is_the_cause_and_told() -> None:
    judged = Judged(ToldJob()).run(30)
    ends = [judged.job.end(2, COMM_END_RAISED, 0.5, "OutOfMemoryError: CUDA out of memory"), *(judged.job.end(rank, COMM_END_RAISED, 0.4, LOST) for rank in (0, 1, 3))]
    judged.run(6, *ends)
    assert judged.firing == {("rank_dead", "42/2")} and "OutOfMemoryError" in judged.findings[0].summary


def test_a_job_that_is_ended_from_outside_or_in_order_names_nobody() -> None:
    for end in (COMM_END_SILENT, COMM_END_LEFT):
        judged = Judged(ToldJob()).run(30)
        judged.run(60, *(judged.job.end(rank, end, 0.5 - rank / 20) for rank in range(4)))
        assert not judged.said


def test_a_job_that_falls_silent_as_a_whole_names_nobody() -> None:
    judged = Judged(ToldJob()).run(30)
    judged.job.silent = {0, 1, 2, 3}
    assert not judged.run(200).said


def test_who_is_late_again_and_again_is_slow_and_no_longer_when_it_is_not() -> None:
    judged = Judged(ToldJob()).run(60)
    judged.job.late_s = {1: 0.4}
    began_s = judged.job.now_s
    judged.run(50)
    assert judged.firing == {("rank_slow", "42/1")} and judged.said[0][0] - began_s < 45
    judged.job.late_s = {}
    judged.run(60)
    assert not judged.firing and len(judged.said) == 2


def test_a_little_slower_is_no_finding() -> None:
    judged = Judged(ToldJob(), Detector(DetectorSetup()))
    judged.job.late_s = {1: 0.06}
    assert not judged.run(200).said


def test_of_operations_that_are_under_way_together_the_first_stands_for_all() -> None:
    rows = Rows()
    for rank, late_us in ((1, 0.0), (0, 300.0)):  # rank 1 is late: what it asks for is done at once
        for step in range(40):
            for bucket in range(10):
                done_us = 1000.0 * step + 900 + bucket
                rows.take(10 * step + bucket + 1, rank, late_us + bucket if rank == 0 else 0.0, done_us)
    assert [number for number, by_rank in rows.apart() if len(by_rank) == 2] == [10 * step + 1 for step in range(40 - WINDOW, 40)]


def test_a_pause_that_comes_again_is_the_jobs_way_and_what_came_once_is_not() -> None:
    judged = Judged(ToldJob())
    for _ in range(2):
        judged.run(60)
        judged.job.absent = {0}
        judged.run(25)
        judged.job.absent = set()
    fired = [one for one in judged.said if one[3]]
    assert len(fired) == 2
    judged.run(60)
    judged.job.absent = {0}
    judged.run(40)  # twice 25 s is patience now
    assert [one for one in judged.said if one[3]] == fired
    judged.run(30)
    assert judged.firing == {("rank_hang", "42/0")}


def test_a_job_that_only_begins_has_more_time() -> None:
    judged = Judged(ToldJob())
    judged.job.absent = {0}
    assert not judged.run(int(START_S)).said
    assert judged.run(6).firing == {("rank_hang", "42/0")}


def test_a_new_attempt_begins_anew_and_ends_what_was_said_of_the_one_before() -> None:
    judged = Judged(ToldJob()).run(30)
    judged.run(6, judged.job.end(3, COMM_END_SILENT, 0.5), judged.job.end(0, COMM_END_RAISED, 0.4, LOST))
    assert judged.firing
    judged.job.attempt, judged.job.gone = 1, set()
    assert not judged.run(3).firing


def test_repeats_change_nothing_and_gaps_are_counted() -> None:
    job = ToldJob()
    detector = Detector(DetectorSetup())
    records = [raw for _ in range(10) for raw in job.second()]
    detector.step(1.0, Polled(tuple(records)))
    (commit,) = detector.step(1.0, Polled(tuple(records[20:])))
    assert commit == Commit({(topics.COMM, 0): 41})
    assert (detector.comm.taken, detector.comm.repeated, detector.comm.lost) == (40, 20, 0)
    job.sequence += 5
    detector.step(2.0, Polled(job.second()))
    assert detector.comm.lost == 5


def test_a_job_is_forgotten_and_its_findings_with_it() -> None:
    judged = Judged(ToldJob()).run(60)
    judged.job.silent.add(2)
    judged.run(25)
    judged.job.silent = {0, 1, 2, 3}
    judged.run(700)
    assert not judged.firing and judged.detector.comm.jobs_known == 0


@given(st.binary(max_size=200) | st.builds(lambda r, n: CommSummary(version=1, node="n", agent_start="s", sequence=1, job_id="j", rank=r, rank_count=n).SerializeToString(), st.integers(0, 9), st.integers(0, 9)))
@settings(max_examples=100, deadline=None)
def test_whatever_comes_is_taken_or_refused_with_a_reason(payload: bytes) -> None:
    detector = Detector(DetectorSetup())
    actions = detector.step(0.0, Polled((Raw(0, 0, "j", payload, topics.COMM),)))
    assert isinstance(actions[-1], Commit) and len(actions) - 1 + detector.comm.taken == 1
    assert all(isinstance(one, DeadLetter) and ": " in one.reason for one in actions[:-1])
    detector.step(1.0, Tick(1))


def test_where_it_cannot_be_told_what_keeps_a_rank_the_finding_is_another() -> None:
    """It is a hint to isolation, and no verdict."""
    job = LiveJob("42", 0.0, ranks={0: LiveRank("n1", 1, 0.0), 1: LiveRank("n2", 2, 0.0)})
    found = Hang(Verdict((), ()), (1,), 30.0, 10.0)
    kinds = {}
    for kind in (DEVICE, OUTSIDE, UNKNOWN, STALLED, ENDED):
        blamed = verdict.Finding((0,), "non-communication hang", kind, 0.5, ("",), (), 1)
        kinds[kind] = live_claims.hang(job, found, blamed, 0, kind).kind
    assert kinds == {DEVICE: "rank_hang", OUTSIDE: "rank_hang", UNKNOWN: "rank_hang_unclear", STALLED: "rank_hang", ENDED: "rank_hang"}
