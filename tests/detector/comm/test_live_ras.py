"""Running jobs as NCCL's RAS port tells of them: who is dead, who holds the job up, and the same that ranks say confirmed."""

import pytest
from fakes.judged_job import Judged
from fakes.told_job import ToldJob

from gpuwarden.agent.comm import record
from gpuwarden.agent.reading import RasReading
from gpuwarden.core.nccl.ras import read
from gpuwarden.detector.events import DeadLetter, Polled, PublishFinding, Raw, Tick
from gpuwarden.detector.machine import Detector, DetectorSetup
from gpuwarden.proto import topics
from gpuwarden.proto.comm_pb2 import CommRas, CommRasCommunicator, CommSummary
from gpuwarden.proto.decode import Refused
from gpuwarden.proto.decode_comm import decode_comm
from gpuwarden.proto.finding_pb2 import Finding, FindingState
from gpuwarden.sim.comm.hung import Hang, HungJob
from gpuwarden.sim.comm.ras_answer import answer
from gpuwarden.sim.comm.shape import Shape


def raw(job: HungJob, number: int) -> Raw:
    told = RasReading("j1", 1, read(answer(job, number % 60)))
    return Raw(0, number, "j1", record("n1", "s1", number, 1, told), topics.COMM)


def found(hang: Hang, answers: int) -> list[tuple[float, Finding]]:
    """Asked every half minute."""
    job, detector, said = HungJob(Shape(4, 2, 2), (hang,)), Detector(DetectorSetup()), list[tuple[float, Finding]]()
    for second in range(30 * answers + 200):
        events = [Polled((raw(job, second // 30 + 1),))] if second % 30 == 0 and second < 30 * answers else []
        for event in (*events, Tick(second * 10**9)):
            for action in detector.step(float(second), event):
                assert not isinstance(action, DeadLetter), action
                said += [(float(second), Finding.FromString(action.payload))] if isinstance(action, PublishFinding) else []
    return said


def test_whose_process_is_dead_is_named_at_once_and_until_the_answers_are_old() -> None:
    (at_s, fires), (over_s, over) = found(Hang("dead_process", 5, 20), 3)
    assert (fires.kind, fires.subject.id, fires.subject.node, at_s) == ("rank_dead", "j1/5", "host0", 0.0)
    assert "taken for dead" in fires.summary
    assert over.state == FindingState.FINDING_STATE_RESOLVED and over_s > 60 + 150


def test_who_has_launched_less_than_all_that_wait_is_named_when_nothing_was_launched_for_two_minutes() -> None:
    (at_s, fires), _ = found(Hang("stuck_process", 5, 20), 6)
    assert (fires.kind, fires.subject.id) == ("rank_hang", "j1/5") and 120 <= at_s <= 125
    assert "non-communication hang" in fires.summary and "nothing was launched for 12" in fires.summary


def test_two_answers_name_nobody_in_so_short_a_time() -> None:
    assert found(Hang("stuck_process", 5, 20), 2) == []


def test_what_ranks_say_is_confirmed_in_one_finding() -> None:
    judged = Judged(ToldJob(ranks=16, name="j1")).run(60)
    judged.job.silent.add(5)
    judged.run(30)
    assert judged.firing == {("rank_hang", "j1/5")} and len(judged.findings) == 1
    hung = HungJob(Shape(4, 2, 2), (Hang("stuck_process", 5, 20),))
    for number in range(5):
        told = raw(hung, number + 1)
        judged.run(35, Raw(0, number, told.key, told.payload.replace(b"n1", b"n2"), topics.COMM))
    assert judged.firing == {("rank_hang", "j1/5")} and len(judged.findings) == 2
    assert judged.findings[0].id == judged.findings[1].id
    assert "stalled" in judged.findings[1].summary and "And NCCL's RAS port" in judged.findings[1].summary
    assert len(judged.findings[1].evidence) == len(judged.findings[0].evidence) + 2
    judged.run(160)  # the answers are old by now, and the ranks still say so
    assert judged.firing == {("rank_hang", "j1/5")} and len(judged.findings) == 2


@pytest.mark.parametrize(("ras", "why"), [
    (CommRas(), "ras.communicators: are 0"),
    (CommRas(host=[1], pid=[1], hosts=["h"]), "ras.host: are 1 of 1 processes, of 1 hosts"),
    (CommRas(communicators=[CommRasCommunicator(rank=[0], process=[0], running=[True])]), "ras.communicators.process: is not one of 0"),
    (CommRas(communicators=[CommRasCommunicator(rank=[0])]), "ras.communicators.rank: are 1"),
])  # fmt: skip
def test_what_cannot_be_is_refused_at_the_door(ras: CommRas, why: str) -> None:
    with pytest.raises(Refused, match="^" + why):
        decode_comm(CommSummary(version=1, node="n1", agent_start="s1", sequence=1, job_id="j1", ras=ras).SerializeToString())
