"""What NCCL's RAS port answered: a real answer, answers of jobs that hang, and answers that are no answers."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gpuwarden.cli.main import main
from gpuwarden.core.nccl.fields import Bad
from gpuwarden.core.nccl.process import Process
from gpuwarden.core.nccl.ras import Answer, read
from gpuwarden.detector.comm.ras_hang import verdict_on
from gpuwarden.sim.comm.hung import Hang, HungJob
from gpuwarden.sim.comm.ras_answer import answer as simulated
from gpuwarden.sim.comm.shape import Shape

RECORDED = Path(__file__).parents[2] / "recorded" / "nccl-2.28.9"
RUNNING = {"init_state": 0, "async_error": 0, "finalize_called": False, "destroy_flag": False, "abort_flag": False}
Counts = dict[int, dict[str, int]]


def communicator(key: str, ranks: list[int], launched: Counts, missing: tuple[int, ...] = (), **status: object) -> dict[str, Any]:
    """`ranks` are the job's, and processes' numbers: 8 processes a host."""

    def who(place: int, rank: int) -> dict[str, Any]:
        return {"rank": place, "host": f"host{rank // 8}", "pid": 1000 + rank, "cuda_dev": rank % 8, "nvml_dev": rank % 8}

    dead = {"unresponsive": True, "considered_dead": True}
    return {
        "hash": key, "secondary_hash": "0x0", "size": len(ranks), "ranks_count": len(ranks) - len(missing), "missing_ranks_count": len(missing),
        "ranks": [
            {**who(place, rank), "status": {**RUNNING, **status}, "collective_counts": launched.get(rank, {"AllReduce": 10})}
            for place, rank in enumerate(ranks) if rank not in missing
        ],
        "missing_ranks": [{**who(place, rank), "status": dead} for place, rank in enumerate(ranks) if rank in missing],
    }  # fmt: skip


def answer(*communicators: dict[str, Any], second: int = 0) -> bytes:
    whole = {"nccl_version": "2.28.9", "timestamp": f"2026-11-27 04:51:{second:02}", "communicators_count": len(communicators), "communicators": communicators}
    return f"SERVER PROTOCOL 2\nOK\n{json.dumps(whole)}\n".encode()


def answers(*communicators: dict[str, Any]) -> list[Answer]:
    return [read(answer(*communicators, second=second)) for second in (0, 30)]


def hung(culprit: int) -> list[dict[str, Any]]:
    """Tensor groups of four under a world of eight: who shares a group with the culprit never comes to the world's next operation, its own peers wait."""
    late = {culprit: {"AllReduce": 9}}
    mates = {rank: {"AllReduce": 4} for rank in range(culprit // 4 * 4, culprit // 4 * 4 + 4)}
    return [
        communicator("0xa", [0, 1, 2, 3], late), communicator("0xb", [4, 5, 6, 7], late),
        communicator("0xc", list(range(8)), {rank: mates.get(rank, {"AllReduce": 5}) for rank in range(8)}),
    ]  # fmt: skip


def test_a_real_answer_is_read() -> None:
    found = read((RECORDED / "ras_json.txt").read_bytes())
    assert (found.version, found.at) == ("2.28.9", "2026-11-27 04:51:30")
    assert [one.size for one in found.communicators] == [1, 1]
    member = found.communicators[0].members[0]
    assert (member.process, member.running, member.launched["AllReduce"]) == (Process("192.0.2.2", 481), True, 0)


@pytest.mark.parametrize("culprit", range(8))
def test_who_has_launched_less_and_waits_for_nobody_is_named(culprit: int) -> None:
    (finding,) = verdict_on(answers(*hung(culprit))).findings
    assert finding.ranks == (culprit,)
    assert finding.held_up == 7
    assert "it has launched less than all that wait for it" in finding.evidence[0]


@pytest.mark.parametrize("kind", ["stuck_process", "stuck_gpu", "dead_process"])
def test_who_waits_for_messages_is_not_blamed_for_it(kind: str) -> None:
    """Behind the copies' ranks are all of a pipeline, and of these RAS sees only that they are behind."""
    for rank in (3, 13, 19, 27):
        job = HungJob(Shape(8, 2, 4, expert=2), (Hang(kind, rank, 28),), 2)
        (finding,) = verdict_on([read(simulated(job, second)) for second in (0, 30)]).findings
        others = set() if kind == "dead_process" else {rank, rank ^ 8}
        assert rank in finding.ranks
        assert set(finding.ranks) <= {rank} | others


def test_one_answer_or_one_that_has_moved_names_nobody() -> None:
    verdict = verdict_on(answers(*hung(5))[:1])
    assert verdict.findings == ()
    assert "one answer does not tell a hang" in verdict.remarks[0]
    moved = [read(answer(communicator("0xa", [0, 1], {0: {"AllReduce": count}, 1: {"AllReduce": count - 1}}))) for count in (7, 8)]
    assert verdict_on(moved).findings == ()


@pytest.mark.parametrize("status", [{"init_state": 7}, {"finalize_called": True}, {"abort_flag": True}, {"async_error": 3}])
def test_who_is_set_up_or_taken_down_is_not_stuck(status: dict[str, object]) -> None:
    assert verdict_on(answers(communicator("0xa", [0, 1], {1: {"AllReduce": 9}}, **status))).findings == ()


def test_a_process_that_is_dead_is_named_from_one_answer() -> None:
    found = [read(answer(communicator("0xa", [0, 1, 2, 3], {}, missing=(2,)), communicator("0xc", list(range(8)), {}, missing=(2,))))]
    (finding,) = verdict_on(found).findings
    assert (finding.ranks, finding.kind, finding.held_up) == ((2,), "dead", 7)
    assert "process 1002 on host0: its process is taken for dead" in finding.evidence[0]


def test_the_comma_that_one_version_leaves_out_is_put_in() -> None:
    whole = answer(communicator("0xa", [0, 1, 2, 3], {}, missing=(2, 3))).decode()
    broken = whole.replace('}}, {"rank": 3', '}}\n {"rank": 3')
    assert broken != whole
    assert read(broken.encode()) == replace(read(whole.encode()), mended=True)


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        (b"SERVER PROTOCOL 2\nERROR: Unknown command\n", "file: is no JSON, as VERBOSE STATUS gives"),
        (answer(communicator("0xa", [0], {}))[:-30], "file: is no JSON"),
        (b"[]", "file: is a list, should be a mapping"),
        (b"[" * 100_000, "file: is no JSON"),
        (b"{}", "communicators: is a NoneType, should be a list"),
        (answer({**communicator("0xa", [0], {}), "size": "1"}), r"communicators\[0\]\.size: is '1', should be a whole number"),
        (answer({**communicator("0xa", [0], {}), "ranks": [{}]}), r"communicators\[0\]\.ranks\[0\]\.status: is a NoneType, should be a mapping"),
        (answer(communicator("0xa", [0], {0: {"AllReduce": -(2**70)}})), r"ranks\[0\]\.collective_counts\.AllReduce: is"),
    ],
)
def test_what_is_no_answer_is_refused_with_the_field_and_the_reason(payload: bytes, says: str) -> None:
    with pytest.raises(Bad, match=says):
        read(payload)


def test_the_command_reads_them_from_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for second in (0, 30):
        (tmp_path / f"ras_{second}.json").write_bytes(answer(*hung(6), second=second))
    (tmp_path / "ras_bad.txt").write_bytes(b"ERROR")
    assert main(["diagnose", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "read: 0 dumps, 2 RAS answers" in said
    assert "not read: ras_bad.txt: file: is no JSON" in said
    assert "rank 6, process 1006 on host0" in said
