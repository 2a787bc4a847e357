"""From a rank's word to a record that the detector's door takes."""

from dataclasses import replace

import pytest

from gpuwarden.agent.comm import job_of
from gpuwarden.agent.events import Collected, SendComm, Tick
from gpuwarden.agent.machine import MAX_JOBS, Agent, AgentSetup
from gpuwarden.agent.reading import RankEnd, RankGroup, RankPending, RankReading, RankTimed, Reading
from gpuwarden.proto.comm_pb2 import COMM_END_RAISED, CommSummary
from gpuwarden.proto.decode import Refused
from gpuwarden.proto.decode_comm import decode_comm

GROUP = RankGroup("ab", "default_pg", (0, 1), 7, 6, 2.5, (RankPending(9, 7, "gloo:all_reduce", False, 2.5),))
READING = RankReading("42", 1, 2, 4711, 3, (GROUP,), (RankTimed("ab", "all_reduce", 6, 1000, 0.25, 1.5),), RankEnd.RUNS, "", 0.5)


def sent(agent: Agent, *readings: RankReading) -> list[SendComm]:
    agent.step(1.0, Tick(10**18))
    return [action for action in agent.step(1.1, Collected("ranks", Reading(comm=readings), 0.01)) if isinstance(action, SendComm)]


def test_a_word_is_a_record_of_its_job_and_comes_out_as_it_went_in() -> None:
    agent = Agent(AgentSetup("n1", "s1", ("ranks",)))
    first, other, last = sent(agent, READING, replace(READING, job="43"), replace(READING, groups=(), timed=(), end=RankEnd.RAISED, why="ValueError: no"))
    assert [job_of(one.payload) for one in (first, other, last)] == ["42", "43", "42"]
    assert [one.sequence for one in (first, other, last)] == [1, 1, 2]  # each job's own
    said = decode_comm(first.payload)
    assert (said.node, said.agent_start, said.job, said.rank, said.ranks, said.pid, said.attempt) == ("n1", "s1", "42", 1, 2, 4711, 3)
    (group,), (operation,) = said.groups, said.operations
    assert (group.id, list(group.ranks), group.asked, group.done, group.pending[0].number) == ("ab", [0, 1], 7, 6, 7)
    assert (operation.group, operation.last_sequence, operation.size_bucket_bytes, operation.time_max_s) == ("ab", 6, 512, 0.25)
    assert (decode_comm(last.payload).end, decode_comm(last.payload).end_reason) == (COMM_END_RAISED, "ValueError: no")


def test_jobs_that_come_and_go_do_not_add_up() -> None:
    agent = Agent(AgentSetup("n1", "s1", ("ranks",)))
    sent(agent, *(replace(READING, job=str(number)) for number in range(MAX_JOBS + 10)))
    (newest,), (oldest,) = sent(agent, replace(READING, job=str(MAX_JOBS))), sent(agent, replace(READING, job="0"))
    assert (newest.sequence, oldest.sequence) == (2, 1)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"version": 9}, "version: is 9"),
        ({"job_id": ""}, "job_id: is empty"),
        ({"node": "n" * 300}, "node: has 300 characters"),
        ({"sequence": 0}, "sequence: is 0"),
        ({"rank": 2}, "rank: is 2 of 2"),
        ({"end": 17}, "end: 17 is not known"),
        ({"age_s": -1.0}, "age_s: is -1"),
        ({"age_s": float("nan")}, "age_s: is nan"),
        ({"groups": [{"asked": 1, "done": 2}]}, "groups.done: is 2 of 1"),
        ({"groups": [{"ranks": [1, 1]}]}, "groups.ranks: hold a rank twice"),
        ({"operations": [{"time_max_s": float("inf")}]}, "operations.time_max_s: is inf"),
    ],
)
def test_what_cannot_be_is_refused_at_the_detectors_door(change: dict[str, object], why: str) -> None:
    good = {"version": 1, "node": "n1", "agent_start": "s1", "sequence": 1, "job_id": "42", "rank": 1, "rank_count": 2}
    decode_comm(CommSummary(**good).SerializeToString())  # type: ignore[arg-type]  # fields by name
    with pytest.raises(Refused, match="^" + why):
        decode_comm(CommSummary(**{**good, **change}).SerializeToString())  # type: ignore[arg-type]  # fields by name
